import java.io.ByteArrayOutputStream;
import java.nio.file.*;
import java.security.*;
import java.security.spec.*;
import java.util.*;
import javax.crypto.Cipher;
import static java.nio.charset.StandardCharsets.UTF_8;

/** Writes the jdk-*.txt vectors with the JDK alone. In this folder: java MakeVectors.java */
public class MakeVectors {
    static final String BINDING = "{\"requestNo\":\"ABR-20250903-0001\",\"sellerId\":\"SELLER-123456\",\"sellerCertNo\":\"91310108MA1KXXXXXX\",\"sellerName\":\"Acme Trading Ltd.\",\"storeName\":\"Acme Official Store\",\"storeUrl\":\"https://store.example.com/acme\",\"entityType\":\"Corporate\",\"country\":\"CHN\",\"currency\":\"CNH\",\"note\":\"First-time binding\",\"backlinkUrl\":\"https://merchant.example.com/seller/SELLER-123456\"}";
    static final String EVENT = "{\"requestNo\":\"7042bac2-491b-41f8-b091-5199a20785c2\",\"sellerId\":\"\u5356\u5bb6-1\",\"status\":\"FROZEN\"}";
    static final String PKCS1 = "RSA/ECB/PKCS1Padding";

    public static void main(String[] args) throws Exception {
        String full = seal(BINDING, "platform-4096", PKCS1, 501);
        String small = seal(BINDING, "platform-4096", PKCS1, 64);
        write("binding-full-blocks", "request", "open", full, sign(full, "SHA256withRSA"), "the documented binding example in full blocks", BINDING, null);
        write("binding-64-byte-blocks", "request", "open", small, sign(small, "SHA256withRSA"), "the documented binding example in blocks of 64 bytes", BINDING, null);
        String mixed = seal(BINDING, "platform-4096", PKCS1, 501, 1, 64, 7);
        write("mixed-blocks", "request", "open", mixed, sign(mixed, "SHA256withRSA"), "blocks of 1, 64 and 7 bytes, then full ones", BINDING, null);
        String event = seal(EVENT, "platform-4096", PKCS1, 501);
        write("notification-payload", "notification", "open", event, sign(event, "SHA256withRSA"), "requestData under the name payload, as webhooks may have it", EVENT, null);

        write("signature-md5", "request", "signature", full, sign(full, "MD5withRSA"), "MD5 in place of SHA-256", null, "hashed with MD5");
        write("signature-no-hash", "request", "signature", full, sign(sha256(full), "NONEwithRSA"), "the bare digest, without DigestInfo", null, "without its DigestInfo");
        write("signature-double-hash", "request", "signature", full, sign(sha256(full), "SHA256withRSA"), "the text was hashed before it was given to a signer that hashes", null, "the SHA-256 of the text");
        String hex = HexFormat.of().formatHex(sha256(full));
        write("signature-double-hash-hex", "request", "signature", full, sign(hex, "SHA256withRSA"), "the hex digest was given to a signer that hashes", null, "the hex SHA-256 of the text");

        String oaep1 = seal(BINDING, "platform-4096", "RSA/ECB/OAEPWithSHA-1AndMGF1Padding", 64);
        write("data-oaep-sha1", "request", "unreadable", oaep1, sign(oaep1, "SHA256withRSA"), "OAEP with SHA-1", null, "OAEP with SHA-1");
        String oaep = seal(BINDING, "platform-4096", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding", 64);
        write("data-oaep-sha256", "request", "unreadable", oaep, sign(oaep, "SHA256withRSA"), "OAEP with SHA-256, and MGF1 with SHA-1 as the JDK has it", null, "OAEP with SHA-256 and MGF1 SHA-1");
        String mime = Base64.getMimeEncoder().encodeToString(Base64.getDecoder().decode(full)).replace("\r\n", "\\r\\n");
        write("data-mime-base64", "request", "unreadable", mime, sign(mime.replace("\\r\\n", "\r\n"), "SHA256withRSA"), "Base64.getMimeEncoder breaks lines", null, "line breaks");
        String twice = Base64.getEncoder().encodeToString(full.getBytes(UTF_8));
        write("data-base64-twice", "request", "unreadable", twice, sign(twice, "SHA256withRSA"), "Base64 of Base64", null, "Base64 of Base64");
        String raw = seal(BINDING, "platform-4096", "RSA/ECB/NoPadding", 64);
        write("data-no-padding", "request", "unreadable", raw, sign(raw, "SHA256withRSA"), "no padding at all", null, "another padding");
    }

    /** The first blocks have the sizes in first, the others size. */
    static String seal(String text, String key, String transformation, int size, int... first) throws Exception {
        Cipher cipher = Cipher.getInstance(transformation);
        cipher.init(Cipher.ENCRYPT_MODE, KeyFactory.getInstance("RSA").generatePublic(new X509EncodedKeySpec(pem(key + ".pub"))));
        byte[] plain = text.getBytes(UTF_8);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int from = 0, i = 0; from < plain.length; i++) {
            int n = Math.min(i < first.length ? first[i] : size, plain.length - from);
            out.write(cipher.doFinal(plain, from, n));
            from += n;
        }
        return Base64.getEncoder().encodeToString(out.toByteArray());
    }

    static String sign(String text, String algorithm) throws Exception {
        return sign(text.getBytes(UTF_8), algorithm);
    }

    static String sign(byte[] bytes, String algorithm) throws Exception {
        Signature s = Signature.getInstance(algorithm);
        s.initSign(KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(pem("client-4096"))));
        s.update(bytes);
        return Base64.getEncoder().encodeToString(s.sign());
    }

    static byte[] sha256(String text) throws Exception {
        return MessageDigest.getInstance("SHA-256").digest(text.getBytes(UTF_8));
    }

    static byte[] pem(String name) throws Exception {
        String s = Files.readString(Path.of("../keys/test-" + name + ".pem"));
        return Base64.getMimeDecoder().decode(s.replaceAll("-----[^-]*-----", ""));
    }

    static void write(String name, String form, String expect, String data, String signature, String about, String plain, String explain) throws Exception {
        String member = form.equals("notification") ? "payload" : "requestData";
        StringBuilder s = new StringBuilder();
        s.append("about: ").append(about).append("\nmade-by: JDK ").append(Runtime.version().feature()).append(", MakeVectors.java\nexpect: ").append(expect);
        s.append("\nform: ").append(form);
        s.append("\nverify-key: test-client-4096.pub.pem\nopen-key: test-platform-4096.pem\nbody: ");
        s.append("{\"version\":\"1.0.1\",\"appId\":\"demo\",\"dataType\":\"JSON\",\"" + member + "\":\"" + data + "\",\"signature\":\"" + signature + "\"}\n");
        if (plain != null) s.append("plain: ").append(plain).append('\n');
        if (explain != null) s.append("explain: ").append(explain).append('\n');
        Files.writeString(Path.of("jdk-" + name + ".txt"), s);
    }
}
