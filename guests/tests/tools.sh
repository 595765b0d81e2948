#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Busybox applets with known answers.

. /scripts/expect

cd /tmp || exit
seq 1 100000 >numbers
expect tools.sha256sum 'sha256sum <numbers | cut -d " " -f 1' b2bc7d3f8b652d2ec96865b68ad8f80e22cca174abe1aed7889e242a747d590f
expect tools.sha512sum 'sha512sum <numbers | cut -c 1-32' da6347991e8683a5f043d408b0a494dd
expect tools.md5sum 'md5sum <numbers | cut -d " " -f 1' dea9193b768319cbb4ff1a137ac03113
expect tools.wc 'wc numbers | tr -s " "' ' 100000 100000 588895 numbers'
holds tools.gzip 'gzip -c numbers >n.gz && gzip -t n.gz && gzip -dc n.gz | cmp - numbers'
holds tools.bzip2 'bzip2 -c numbers >n.bz2 && bunzip2 -c n.bz2 | cmp - numbers'
expect tools.gzip-notices 'head -c 5000 n.gz >half.gz; gzip -t half.gz 2>/dev/null; echo $?' 1
expect tools.sort 'sort -rn numbers | head -n 3 | paste -s -d " "' '100000 99999 99998'
expect tools.sort-text 'sort numbers | md5sum | cut -d " " -f 1' 338f61e49110b3940f942ab40ec5978f
expect tools.uniq 'awk "{ print \$1 % 7 }" numbers | sort | uniq -c | awk "{ print \$1 }" | paste -s -d " "' \
    '14285 14286 14286 14286 14286 14286 14285'
expect tools.awk-float 'awk "BEGIN { for (i = 1; i <= 100000; i++) s += 1 / i; printf \"%.12f\", s }"' 12.090146129863
expect tools.sed 'sed -n "s/^\(.\)99\(.\)\$/\2-\1/p" numbers | paste -s -d " " | cut -c 1-11' '0-1 1-1 2-1'
expect tools.grep 'grep -c "7.*7" numbers' 8146
expect tools.dd 'dd if=numbers bs=1000 skip=100 count=3 2>/dev/null | md5sum | cut -c 1-16' 747b7cddd33daad0
holds tools.dd-copy 'dd if=/dev/urandom of=random bs=64k count=64 2>/dev/null && dd if=random of=copy bs=7777 2>/dev/null && cmp random copy'
holds tools.cpio 'mkdir -p a/b && cp numbers random a/b && find a | cpio -o -H newc 2>/dev/null >a.cpio && mkdir -p out && (cd out && cpio -i 2>/dev/null <../a.cpio) && diff -r a out/a'
holds tools.tar 'tar cf a.tar a && tar tf a.tar | grep -q a/b/random && mkdir -p out2 && tar xf a.tar -C out2 && diff -r a out2/a'
expect tools.bc 'echo "2^200" | bc' 1606938044258990275541962092341162602522202993782792835301376
expect tools.xxd 'printf "\001\377A" | xxd -p' 01ff41
expect tools.pipes 'seq 1 100 | while read -r i; do echo "$i" | cat | cat; done | awk "{ s += \$1 } END { print s }"' 5050
expect tools.fork-loop 'i=0; while [ $i -lt 200 ]; do i=$(expr $i + 1); done; echo $i' 200
expect tools.background 'for i in 1 2 3 4 5; do (sleep 0.1; echo $i) & done | sort | tr -d "\n"; wait' 12345
expect tools.signal '{ sleep 100 & kill -TERM $!; wait $!; echo $?; } 2>/dev/null' 143
expect tools.trap 'sh -c "trap \"echo caught\" USR1; kill -USR1 \$\$; echo after" | paste -s -d " "' 'caught after'
expect tools.timeout '{ timeout 1 sleep 10; echo $?; } 2>/dev/null' 143
holds tools.fifo 'mkfifo fifo && (cat numbers >fifo &) && cmp fifo numbers'
holds tools.ps 'ps | grep -q "[s]h /tests/tools.sh"'
holds tools.vi-free 'free | grep -q Mem && uptime && df >/dev/null && mount | grep -q proc'
holds tools.sync 'sync && sleep 0.01'
