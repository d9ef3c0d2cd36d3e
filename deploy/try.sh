#!/usr/bin/env bash
# try.sh runs three machines of a PostgreSQL cluster and two nodes of infinia on this one, from exactly the files beside it,
# kills what can be killed, and fails when an acknowledged row or share is lost, or a share acts twice. It takes two minutes,
# more on a busy machine, and leaves nothing behind.
#
#   apt-get install patroni python3-idna etcd-server etcd-client postgresql curl openssl openssh-client
#   deploy/try.sh
#
# With --keep it only starts the three machines and keeps them until Enter, to try an administrator's acts on.
#
# Only addresses, paths and passwords are put in: db1, db2 and db3 are 127.0.77.1, 127.0.77.2 and 127.0.77.3, the nodes
# 127.0.77.11 and 127.0.77.12, all with the usual ports.
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# PostgreSQL refuses to run as root.
if ((EUID == 0)); then
	copy=$(mktemp -d /tmp/infinia-try-files.XXXXXX)
	trap 'rm -rf "$copy"' EXIT
	cp "$source_dir"/* "$copy"
	(cd "$source_dir/.." && go build -o "$copy/infinia" ./cmd/infinia)
	chown -R postgres "$copy"
	cd /
	runuser -u postgres -- bash "$copy/try.sh" "$@"
	exit
fi

for program in patroni patronictl etcd etcdctl psql curl openssl setsid sftp ssh-keygen; do
	command -v "$program" >/dev/null || { echo "try.sh: $program is missing: apt-get install patroni python3-idna etcd-server etcd-client postgresql curl openssl openssh-client" >&2; exit 2; }
done
unset "${!PG@}" "${!PATRONI_@}" "${!ETCD_@}" "${!INFINIA_@}" # nothing of the caller's counts here
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
work=$(mktemp -d /tmp/infinia-try.XXXXXX)
infinia=$source_dir/infinia # built above for root
if [[ -d $source_dir/../cmd/infinia ]]; then
	infinia=$work/infinia
	(cd "$source_dir/.." && go build -o "$infinia" ./cmd/infinia)
fi
started=$EPOCHREALTIME
declare -A address=([db1]=127.0.77.1 [db2]=127.0.77.2 [db3]=127.0.77.3 [node1]=127.0.77.11 [node2]=127.0.77.12)
declare -A pid=() # of etcd-db1, patroni-db1, node1 and so on

# --- plumbing

since() { awk -v a="$1" -v b="${2:-$EPOCHREALTIME}" 'BEGIN { printf "%.1f", b - a }'; }
say() { printf '%5s s  %s\n' "$(since "$started")" "$*"; }
fail() {
	say "FAILED: $*" >&2
	tail -n 15 "$work"/db?/patroni.log "$work"/node?/log "$work"/sharer?.err >&2 2>/dev/null || true
	exit 1
}

# until_ok SECONDS WHAT COMMAND...: waits for the command to succeed.
until_ok() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "$what did not happen"
		sleep 0.3
	done
}

postmaster() { head -1 "$work/$1/data/postmaster.pid" 2>/dev/null || true; }

clean_up() {
	local code=$? node p
	set +e
	touch "$work/stop"
	for p in "${pid[@]}"; do kill -9 "$p" 2>/dev/null; done
	for node in db1 db2 db3 restored; do
		p=$(postmaster $node)
		[[ $p ]] && kill -QUIT "$p" 2>/dev/null
	done
	jobs -p | xargs -r kill 2>/dev/null
	wait 2>/dev/null
	sleep 0.5
	rm -rf "$work"
	exit $code
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# fill TEMPLATE NODE: what an administrator does to the file on that machine, and the temporary folder's paths.
fill() {
	local node=$2 dir="$work/$2"
	sed -E -e "s/@NAME@/$node/g" -e "s/@ADDRESS@/${address[$node]}/g" -e 's/@[A-Z]+_PASSWORD@/try-only/g' \
		-e 's/\bdb([123]):([0-9]+)/127.0.77.\1:\2/g' \
		-e 's/@db1,db2,db3/@127.0.77.1,127.0.77.2,127.0.77.3/' \
		-e "s/=:(8443|2022)\$/=${address[$node]}:\1/" \
		-e "s#/etc/infinia/ca.crt#$work/ca.crt#g" \
		-e "s#/(etc|var/lib)/infinia\b#$dir#g" \
		-e "s#https://pay.example.com#https://${address[node1]}:8443#" \
		-e "s#/etc/(etcd|patroni)/tls#$dir/tls#g" \
		-e "s#/var/lib/etcd/infinia#$dir/etcd#g" \
		-e "s#/var/lib/postgresql/15/infinia\$#$dir/data#g" \
		-e "s#/var/lib/postgresql/infinia.pgpass#$dir/pgpass#g" \
		-e "s#/usr/lib/postgresql/15/bin#$bin#g" \
		-e "s#/var/run/postgresql#$dir#g" \
		-e "s#/usr/local/lib/infinia#$source_dir#g" \
		-e "s#/var/backups/infinia#$work/backups#g" "$source_dir/$1"
}

start_etcd() { # NODE
	# shellcheck disable=SC1090
	(set -a; . "$work/$1/etcd.env"; set +a; exec setsid etcd >"$work/$1/etcd.log" 2>&1) &
	pid[etcd-$1]=$!
	disown # the shell shall not report that it was killed
}

start_patroni() { # NODE
	# shellcheck disable=SC1090
	(set -a; . "$work/$1/patroni.env"; set +a; exec setsid patroni "$work/$1/patroni.yml" >>"$work/$1/patroni.log" 2>&1) &
	pid[patroni-$1]=$!
	disown
}

start_node() { # NODE
	# shellcheck disable=SC1090
	(set -a; . <(sed -E 's/=(.*)/='"'\1'"'/' "$work/$1/infinia.env"); set +a; exec setsid "$infinia" serve >>"$work/$1/log" 2>&1) &
	pid[$1]=$!
	disown
}

# kill_node NODE: what a power cut does to Patroni and PostgreSQL.
kill_node() {
	local p
	p=$(postmaster "$1")
	# shellcheck disable=SC2046
	kill -9 "${pid[patroni-$1]}" "$p" $(ps -o pid= --ppid "$p") 2>/dev/null || true
	unset "pid[patroni-$1]"
}

state() { curl -sk --max-time 2 "https://${address[$1]}:8008/$2" -o /dev/null -w '%{http_code}' 2>/dev/null || true; }
is() { [[ $(state "$1" "$2") == 200 ]]; } # is db1 primary, is db2 synchronous

# role ROLE: the machine that has it.
role() {
	local node
	for node in db1 db2 db3; do if is $node "$1"; then echo $node; return; fi; done
	return 1
}

export PGPASSWORD=try-only
tls="sslmode=verify-full&sslrootcert=$work/ca.crt"
url="postgres://infinia@127.0.77.1,127.0.77.2,127.0.77.3/infinia?target_session_attrs=read-write&connect_timeout=3&$tls"
sql() { psql -qXAt -v ON_ERROR_STOP=1 "$url" -c "$1"; }
admin() { # NODE DATABASE SQL
	psql -qXAt -v ON_ERROR_STOP=1 "postgres://postgres@${address[$1]}/$2?connect_timeout=3&$tls" -c "$3"
}

# writer N: writes rows 1, 2, 3 through the three-host URL, each until it is acknowledged, as a client repeats a call under
# its requestNo. Only what was acknowledged is noted, with its time.
writer() {
	local row=1
	while [[ ! -e $work/stop ]]; do
		if psql -qXAt -v ON_ERROR_STOP=1 "$url" -c "insert into acked values ($1, $row) on conflict do nothing" 2>>"$work/writer$1.err"; then
			echo "$EPOCHREALTIME $1 $row" >>"$work/writer$1.log"
			row=$((row + 1))
		else
			sleep 0.1
		fi
	done
}

# gap WHO SINCE: the longest time without an acknowledgement to any writer, or sharer, after that moment.
gap() {
	cat "$work/$1"?.log | sort -n | awk -v since="$2" '{ if ($1 >= since && last && $1 - last > most) most = $1 - last; last = $1 } END { printf "%.1f", most }'
}
# again WHO N SINCE: that many acknowledgements since, so that the gap is over.
again() { [[ $(cat "$work/$1"?.log | awk -v since="$3" '$1 > since' | wc -l) -ge $2 ]]; }

share() { # NODE REQUESTNO
	INFINIA_API="https://${address[$1]}:8443/api" "$infinia" call revenue-sharing/request -d '{"requestNo":"'"$2"'","sellerId":"S-1","currency":"CNH","amount":"0.01"}'
}

# sharer N: shares again and again, each share under one requestNo until it is acknowledged, at the node that answered last.
sharer() {
	local n=1 node=node$1 no
	while [[ ! -e $work/stop ]]; do
		no=$1-$n
		if share "$node" "$no" >/dev/null 2>>"$work/sharer$1.err"; then
			echo "$EPOCHREALTIME $no" >>"$work/sharer$1.log"
			n=$((n + 1))
		else
			[[ $node == node1 ]] && node=node2 || node=node1
			sleep 0.1
		fi
	done
}

# check: every acknowledged row is there, and every acknowledged share once.
check() {
	local noted missing
	cat "$work"/writer?.log | awk '{ print $2 "," $3 }' >"$work/noted.csv"
	noted=$(wc -l <"$work/noted.csv")
	missing=$(psql -qXAt -v ON_ERROR_STOP=1 "$url" <<-SQL
		create temp table noted (writer int, n int);
		\copy noted from '$work/noted.csv' csv
		select count(*) from noted where not exists (select 1 from acked a where a.writer = noted.writer and a.n = noted.n);
	SQL
	)
	[[ $missing == 0 ]] || fail "$missing of $noted acknowledged rows are LOST"
	say "  acknowledged $noted rows, lost 0"
	until_ok 60 "shares" again sharer 5 "$EPOCHREALTIME"
	awk '{ print $2 }' "$work"/sharer?.log >"$work/shared"
	noted=$(wc -l <"$work/shared")
	missing=$(psql -qXAt -v ON_ERROR_STOP=1 "$url" <<-SQL
		create temp table noted (no text);
		\copy noted from '$work/shared'
		select count(*) from noted where (select count(*) from share s where s.request_no = noted.no) <> 1;
	SQL
	)
	[[ $missing == 0 ]] || fail "$missing of $noted acknowledged shares are not there once"
	"$infinia" ledger verify --db "$url" >"$work/verified" || fail "the books: $(cat "$work/verified")"
	say "  acknowledged $noted shares, each there once; the books are $(cut -d, -f1-3 "$work/verified")"
}

# --- three machines

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=try-ca -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
mkdir -p "$work/backups/wal"
for node in db1 db2 db3; do
	mkdir -p "$work/$node/tls"
	cp "$work/ca.crt" "$work/$node/tls/ca.crt"
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$node" -keyout "$work/$node/tls/node.key" 2>/dev/null |
		openssl x509 -req -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
			-extfile <(echo "subjectAltName=DNS:$node,IP:${address[$node]},IP:127.0.0.1") -out "$work/$node/tls/node.crt" 2>/dev/null
	for file in etcd.env patroni.env patroni.yml; do fill $file $node >"$work/$node/$file"; done
	chmod 600 "$work/$node"/*.env "$work/$node/tls/node.key"
done

say "etcd on three machines, Patroni on three"
for node in db1 db2 db3; do start_etcd $node; done
etcdctl_() { ETCDCTL_API=3 etcdctl --cacert "$work/ca.crt" --cert "$work/db1/tls/node.crt" --key "$work/db1/tls/node.key" --endpoints https://127.0.77.1:2379 "$@"; }
until_ok 15 "etcd's election" etcdctl_ endpoint health
for node in db1 db2 db3; do start_patroni $node; done
until_ok 60 "a synchronous standby" role synchronous
primary=$(role primary) standby=$(role synchronous)
say "primary $primary, synchronous standby $standby; pg_stat_replication on $primary:"
standbys() { [[ $(admin "$primary" postgres "select count(*) from pg_stat_replication where state = 'streaming'") == "$1" ]]; }
until_ok 30 "the third machine" standbys 2
admin "$primary" postgres "select application_name, state, sync_state from pg_stat_replication order by 1" | sed 's/^/         /'
until_ok 15 "a writable primary" admin "$primary" postgres "create role infinia login password 'try-only'"
admin "$primary" postgres "create database infinia owner infinia"
for node in db1 db2 db3; do until_ok 10 "the database on $node" admin $node infinia "select 1"; done
sql "create table acked (writer int, n int, primary key (writer, n)); create table load (client int not null)"

if [[ ${1:-} == --keep ]]; then
	say "everything runs in $work until Enter; in another terminal, as user $(id -un):"
	echo "  export PGPASSWORD=try-only; psql '$url'"
	echo "  set -a; . $work/db1/patroni.env; set +a; patronictl -c $work/db1/patroni.yml list"
	read -r _
	exit
fi

echo 'insert into load values (:client_id);' >"$work/load.sql"
tps=$("$bin/pgbench" -n -c 8 -j 2 -T 3 -f "$work/load.sql" "$url" 2>/dev/null | awk '/^tps/ { printf "%d", $3 }')
say "commits a second on 8 connections, each on two machines' disks: $tps"

# --- two nodes, and what a share needs

for node in node1 node2; do
	mkdir -m 700 "$work/$node"
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$node" -keyout "$work/$node/tls.key" 2>/dev/null |
		openssl x509 -req -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
			-extfile <(echo "subjectAltName=IP:${address[$node]}") -out "$work/$node/tls.crt" 2>/dev/null
	(umask 077; echo 'ada try-only-try-only' >"$work/$node/operators")
	fill infinia.env $node >"$work/$node/infinia.env"
	start_node $node
	until_ok 30 "$node" curl -sf --cacert "$work/ca.crt" "https://${address[$node]}:8443/readyz"
done
export SSL_CERT_FILE=$work/ca.crt INFINIA_ADMIN="https://${address[node1]}:8443" INFINIA_TOKEN=try-only-try-only
export INFINIA_APP=shop INFINIA_KEY=$work/client.pem INFINIA_PLATFORM_KEY=$work/platform.pem INFINIA_API=$INFINIA_ADMIN/api
act() { "$infinia" "$@" --reason try >"$work/out" 2>&1 || fail "infinia $1 $2: $(cat "$work/out")"; }
act app create shop --name Shop
act key generate shop --owner client --bits 2048 --out "$work/client.pem"
ssh-keygen -q -t ed25519 -N '' -f "$work/id"
act key import shop "$work/id.pub" --owner sftp
"$infinia" key export shop >"$work/platform.pem"
link=$("$infinia" call account-binding/request -d '{"requestNo":"B-1","sellerId":"S-1","sellerCertNo":"91310108MA1KXXXXXX","sellerName":"Acme","storeName":"Acme","storeUrl":"https://store.example.com","entityType":"Corporate","country":"CHN","currency":"CNH"}' | sed -nE 's/.*"redirectUrl": "([^"]+)".*/\1/p')
page=$(curl -sf --cacert "$work/ca.crt" -c "$work/jar" "$link" | sed -nE 's/.*name="page" value="([^"]+)".*/\1/p')
curl -sf --cacert "$work/ca.crt" -b "$work/jar" --data-urlencode "page=$page" -d action=confirm -d agree=yes "$link" >/dev/null
act binding approve "$("$infinia" binding list | awk '/AWAITING_REVIEW/ { print $1 }')"
act deposit add shop --amount 1000000 --currency CNH --bank-reference BANK-1 --value-date 2026-02-03 --payer Shop
"$infinia" sample --rows 1000 --seller S-1 "$work/T-1.csv" 2>/dev/null
sftp -q -P 2022 -i "$work/id" -o StrictHostKeyChecking=no -o UserKnownHostsFile="$work/known" "shop@${address[node2]}" >/dev/null <<-SFTP
	put $work/T-1.csv /upload/T-1.csv.part
	rename /upload/T-1.csv.part /upload/T-1.csv
SFTP
booked() { "$infinia" call trade-details/query -d '{"requestNo":"T-1"}' | grep -q '"status": "SUCCESS"'; }
until_ok 30 "the trade file" booked
say "two nodes of infinia serve, an app, a seller with 1,000 trades"

for w in 1 2 3 4; do : >"$work/writer$w.log"; writer $w & done
for w in 1 2; do : >"$work/sharer$w.log"; sharer $w & done

# --- 1. the primary's machine dies, under load

sql "truncate load"
(cd "$work" && "$bin/pgbench" -n -l -c 8 -j 2 -T 60 -f load.sql "$url" >/dev/null 2>&1) &
load=$!
loaded() { (($(sql "select count(*) from load") > 500)); }
until_ok 20 "the load" loaded
sleep 0.5
old=$primary
at=$EPOCHREALTIME
kill_node "$old"
say "1. killed PostgreSQL and Patroni of the primary $old"
until_ok 60 "a write after the failover" again writer 5 "$(awk -v a="$at" 'BEGIN { printf "%.6f", a + 0.5 }')"
primary=$(role primary)
until_ok 60 "a share after the failover" again sharer 5 "$(awk -v a="$at" 'BEGIN { printf "%.6f", a + 0.5 }')"
say "  gap of writes $(gap writer "$at") s, of shares $(gap sharer "$at") s; primary is $primary"
[[ $primary == "$standby" ]] || fail "$primary was promoted, not the synchronous standby $standby"
check
wait $load 2>/dev/null || true # pgbench ends when its connections break
noted=$(cat "$work"/pgbench_log.* | wc -l)
cat "$work"/pgbench_log.* | awk '{ n[$1]++ } END { for (c in n) print c "," n[c] }' >"$work/load.csv"
lost=$(psql -qXAt -v ON_ERROR_STOP=1 "$url" <<-SQL
	create temp table noted (client int, n int);
	\copy noted from '$work/load.csv' csv
	select coalesce(sum(greatest(0, n - (select count(*) from load l where l.client = noted.client))), 0) from noted;
SQL
)
((noted > 0)) || fail "the load noted nothing"
((lost == 0)) || fail "$lost of $noted rows of the load are LOST"
say "  of the load that the kill cut off: acknowledged $noted, lost 0"

start_patroni "$old"
until_ok 40 "the old primary's return" is "$old" replica
grep -q 'running pg_rewind from' "$work/$old/patroni.log" || fail "$old did not use pg_rewind"
say "  $old is back as a standby, by pg_rewind"

# --- 2. PostgreSQL alone crashes; its Patroni lives

until_ok 30 "a synchronous standby" role synchronous
sleep 2
primary=$(role primary) standby=$(role synchronous)
at=$EPOCHREALTIME
kill -9 "$(postmaster "$primary")"
say "2. killed PostgreSQL of the primary $primary, not its Patroni"
until_ok 60 "a write after the failover" again writer 5 "$(awk -v a="$at" 'BEGIN { printf "%.6f", a + 0.5 }')"
until_ok 60 "a share after the failover" again sharer 5 "$(awk -v a="$at" 'BEGIN { printf "%.6f", a + 0.5 }')"
say "  gap of writes $(gap writer "$at") s, of shares $(gap sharer "$at") s; primary is $(role primary)"
check

# --- 3. the synchronous standby dies, then the last standby too: writes wait

until_ok 40 "a synchronous standby" role synchronous
primary=$(role primary) standby=$(role synchronous)
until_ok 30 "the third machine" standbys 2
at=$EPOCHREALTIME
kill_node "$standby"
say "3. killed the synchronous standby $standby"
until_ok 60 "a write with the other standby" again writer 5 "$(awk -v a="$at" 'BEGIN { printf "%.6f", a + 0.5 }')"
say "  gap of writes $(gap writer "$at") s; synchronous is now $(role synchronous || echo any)"
for node in db1 db2 db3; do [[ $node == "$primary" || $node == "$standby" ]] || other=$node; done
at=$EPOCHREALTIME
kill_node "$other"
say "   killed the other standby $other"
sleep 1
since=$EPOCHREALTIME
sleep 4
if again writer 1 "$since" || again sharer 1 "$since"; then fail "a write or a share was acknowledged with no standby"; fi
say "  no write and no share was acknowledged; what the primary shows of the waiting ones:"
admin "$primary" postgres "select count(*), wait_event_type, wait_event from pg_stat_activity where usename = 'infinia' and state = 'active' group by 2, 3" | sed 's/^/         /'
say "  a read through the same URL answers: $(sql 'select count(*) > 0 from acked')"
start_patroni "$other"
until_ok 60 "a write after the standby's return" again writer 5 "$since"
say "  $other is back, and the waiting writes went on by themselves; gap $(gap writer "$at") s"
check

# --- 4. the nodes are replaced one after the other, as for an upgrade; then one is killed

at=$EPOCHREALTIME
for node in node1 node2; do
	kill "${pid[$node]}"
	until_ok 40 "the end of $node" bash -c "! kill -0 ${pid[$node]}"
	start_node $node
	until_ok 30 "$node" curl -sf --cacert "$work/ca.crt" "https://${address[$node]}:8443/readyz"
done
say "4. stopped each node and started it again; gap of shares $(gap sharer "$at") s"
at=$EPOCHREALTIME
kill -9 "${pid[node2]}"
unset "pid[node2]"
until_ok 30 "a share without node2" again sharer 5 "$at"
say "   killed node2; gap of shares $(gap sharer "$at") s"
check
settled() { [[ $(sql "select count(*) from share where state <> 'SETTLED'") -le 2 ]]; } # those that are asked for meanwhile
until_ok 30 "what node2 had begun to be settled" settled

touch "$work/stop"
if grep -hq 'canceling' "$work"/writer?.err; then fail "a wait for the standby was cancelled"; fi
say "passed"
