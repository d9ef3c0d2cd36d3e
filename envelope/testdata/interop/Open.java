import java.io.ByteArrayOutputStream;
import java.nio.file.*;
import java.security.*;
import java.security.spec.*;
import java.util.Base64;
import javax.crypto.Cipher;
import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Opens an envelope as a Java client does, with the JDK alone, and prints the text:
 * java Open.java private-key.pem sender.pub.pem requestData signature
 */
public class Open {
    public static void main(String[] args) throws Exception {
        KeyFactory rsa = KeyFactory.getInstance("RSA");
        Signature verifier = Signature.getInstance("SHA256withRSA");
        verifier.initVerify(rsa.generatePublic(new X509EncodedKeySpec(pem(args[1]))));
        verifier.update(args[2].getBytes(UTF_8));
        if (!verifier.verify(Base64.getDecoder().decode(args[3]))) {
            throw new SecurityException("the signature does not verify");
        }
        PrivateKey key = rsa.generatePrivate(new PKCS8EncodedKeySpec(pem(args[0])));
        int size = (((java.security.interfaces.RSAKey) key).getModulus().bitLength() + 7) / 8;
        Cipher cipher = Cipher.getInstance("RSA/ECB/PKCS1Padding");
        cipher.init(Cipher.DECRYPT_MODE, key);
        byte[] data = Base64.getDecoder().decode(args[2]);
        ByteArrayOutputStream plain = new ByteArrayOutputStream();
        for (int from = 0; from < data.length; from += size) {
            plain.write(cipher.doFinal(data, from, size));
        }
        System.out.write(plain.toByteArray());
        System.out.flush();
    }

    static byte[] pem(String file) throws Exception {
        return Base64.getMimeDecoder().decode(Files.readString(Path.of(file)).replaceAll("-----[^-]*-----", ""));
    }
}
