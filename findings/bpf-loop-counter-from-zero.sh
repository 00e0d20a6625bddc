#!/usr/bin/env bash
# BPF, Linux 6.18, clang 14: a program that counts in the callback of bpf_loop, and stops at a limit, is
# refused if the count starts at 0, and loaded if it starts at a variable that is 0.
#
# The verifier follows the callback until its state repeats. A count that starts at a constant is a known
# number in each round, and the comparison with the limit makes it a number that matters: no two states are
# equal, and the verifier stops after 8,192 branches. The value of a variable of the program
# is unknown to the verifier, so is the count, and the second round is equal to the first.
#
# Seen: "The sequence of 8193 jumps is too complex" from 0, loaded from the variable. Needs root, and the BPF
# file system.
set -euo pipefail
clang=1:14.0.6-12 bpftool=7.1.0+6.1.192-3
dir=$(mktemp -d)
pin=/sys/fs/bpf/finding-$$
trap 'rm -rf "$dir" "$pin"' EXIT
cd "$dir"
for package in "clang-14=$clang" "libclang-cpp14=$clang" "libllvm14=$clang" "bpftool=$bpftool" \
    libz3-4 libedit2 libbsd0 libxml2 libicu72 libffi8; do
    apt-get -o APT::Sandbox::User=root download -qq "$package"
done
for package in ./*.deb; do dpkg-deb --extract "$package" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/usr/lib/llvm-14/lib
cat >program.c <<'C'
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))
static long (*bpf_loop)(u32, void *, void *, u64) = (void *)181;
static u32 (*bpf_get_prandom_u32)(void) = (void *)7;
char LICENSE[] SEC("license") = "GPL";
u64 zero;
struct walk { u64 found; };
static long visit(u64 index, void *context)
{
	struct walk *walk = context;
	if (walk->found > 100000)
		return 1;
	if (bpf_get_prandom_u32() & 1)
		walk->found++;
	return 0;
}
SEC("socket") int count(void *context)
{
	struct walk walk = { .found = START };
	bpf_loop(1 << 20, visit, &walk, 0);
	return walk.found > 0;
}
C
# The result of a load, of a program whose count starts there.
load() {
    root/usr/lib/llvm-14/bin/clang -target bpf -mcpu=v3 -O2 -g "-DSTART=$1" -c program.c -o "$1.o"
    if root/usr/sbin/bpftool prog load "$1.o" "$pin" >"$1.log" 2>&1; then
        rm "$pin"
        echo loaded
    else
        grep -o 'The sequence of [0-9]* jumps is too complex' "$1.log" || tail -n 1 "$1.log"
    fi
}
constant=$(load 0)
variable=$(load zero)
echo "$(uname -r): from 0: $constant; from a variable: $variable"
[ "$constant; $variable" = 'The sequence of 8193 jumps is too complex; loaded' ]
