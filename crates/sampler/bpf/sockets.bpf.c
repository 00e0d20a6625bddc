// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Writes the sockets that the descriptors of the requested processes refer to, with their states: an iterator
 * over the entries of a map, as in processes.bpf.c. It only reads.
 *
 * `socket`, `process` and `request` have the layouts that src/bpf/sockets.rs reads and writes.
 */
#include "kernel.h"
#include "find.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262

/* The kinds of sockets. */
#define TCP 1
#define UDP 2
#define UNIX 3

#define FDS_PER_WORD 64
/* Of one visit, so that it takes 20 ms at most: 262,144 descriptors. */
#define MAX_WORDS (1 << 12)

struct socket_row {
	__u32 pid;
	__u32 netns;
	__u32 inode;
	__u16 kind;
	__u16 state;
};

/* Follows the sockets of a process. Its kind is 0. */
struct process_row {
	__u32 pid;
	/* Its network namespace; 0 if it is unknown. */
	__u32 netns;
	/* How many descriptors were visited. */
	__u32 fds;
	__u16 kind;
	__u16 padding;
	__u64 start_boottime;
	/* The descriptor from which on to continue; 0 if these were all. */
	__u64 next;
};

_Static_assert(sizeof(struct socket_row) == 2 * 8, "as in src/bpf/sockets.rs");
_Static_assert(sizeof(struct process_row) == 4 * 8, "as in src/bpf/sockets.rs");

/* A walk over the descriptors of a process. */
struct walk {
	struct seq_file *seq;
	/* Addresses in the kernel. */
	__u64 open_fds;
	__u64 fd;
	/* The word of open_fds that is visited, and its value. */
	__u64 index;
	__u64 words;
	__u64 word;
	/* How many sockets may still be written. */
	__u64 left;
	__u32 pid;
	__u32 fds;
};

/* Writes a row for a file that is a socket. */
static __always_inline void write_socket(struct walk *walk, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct socket_row row = {};
	struct inode *inode;
	struct sock *sk, *first;
	__u16 family, protocol;

	if (!socket)
		return;
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return;
	/* The file of a socket that is bound to a path has such an inode too (O_PATH). */
	if (BPF_CORE_READ(socket, file) != file)
		return;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (family == AF_UNIX)
		row.kind = UNIX;
	else if (family != AF_INET && family != AF_INET6)
		return;
	else if (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP)
		row.kind = TCP;
	else if (protocol == IPPROTO_UDP)
		row.kind = UDP;
	else
		return;
	row.pid = walk->pid;
	row.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	row.inode = BPF_CORE_READ(inode, i_ino);
	/* The tables have the subflows of an MPTCP socket: the state is that of the first one. */
	if (protocol == IPPROTO_MPTCP && bpf_core_field_exists(((struct mptcp_sock *)sk)->first)) {
		first = BPF_CORE_READ((struct mptcp_sock *)sk, first);
		if (first)
			sk = first;
	}
	row.state = BPF_CORE_READ(sk, __sk_common.skc_state);
	bpf_seq_write(walk->seq, &row, sizeof(row));
	walk->left--;
}

static long visit_fd(__u64 bit, void *context)
{
	struct walk *walk = context;
	struct file *file = 0;

	if (!(walk->word >> (bit & 63) & 1))
		return 0;
	walk->fds++;
	bpf_probe_read_kernel(&file, sizeof(file),
			      (void *)(walk->fd + (walk->index * FDS_PER_WORD + bit) * sizeof(file)));
	if (file)
		write_socket(walk, file);
	return 0;
}

static long visit_word(__u64 index, void *context)
{
	struct walk *walk = context;

	if (walk->index >= walk->words || walk->left < FDS_PER_WORD)
		return 1;
	walk->word = 0;
	bpf_probe_read_kernel(&walk->word, sizeof(walk->word),
			      (void *)(walk->open_fds + walk->index * sizeof(walk->word)));
	if (walk->word)
		bpf_loop(FDS_PER_WORD, visit_fd, walk, 0);
	walk->index++;
	return 0;
}

/* The thread that has the descriptors of a process: if the main thread has exited, the next one. */
static __always_inline struct task_struct *thread_with_files(struct task_struct *leader)
{
	__u64 next;

	if (BPF_CORE_READ(leader, files))
		return leader;
	next = (__u64)BPF_CORE_READ(leader, thread_node.next);
	if (next == (__u64)&BPF_CORE_READ(leader, signal)->thread_head)
		return 0;
	return (void *)(next - bpf_core_field_offset(struct task_struct, thread_node));
}

SEC("iter/bpf_map_elem")
int sockets(struct bpf_iter__bpf_map_elem *context)
{
	struct task_struct *leader, *task;
	struct process_row row = {};
	struct files_struct *files;
	struct walk walk = {};
	struct target *target;
	struct fdtable *fdt;
	__u64 limit = 0;

	/* The limit is that of the sockets of each. What one process has is written at once, and has to fit into
	 * the 32 KiB of the kernel's buffer. The verifier does not know it, so it does not follow the count. */
	target = next_target(context, &limit);
	if (!target)
		return 0;
	leader = find_process(target->pid);
	if (!leader)
		return 0;
	task = thread_with_files(leader);
	files = task ? BPF_CORE_READ(task, files) : 0;
	if (!files)
		return 0;
	fdt = BPF_CORE_READ(files, fdt);
	walk.seq = context->meta->seq;
	walk.pid = target->pid;
	walk.open_fds = (__u64)BPF_CORE_READ(fdt, open_fds);
	walk.fd = (__u64)BPF_CORE_READ(fdt, fd);
	walk.words = BPF_CORE_READ(fdt, max_fds) / FDS_PER_WORD;
	/* The option is the descriptor from which on to read, a multiple of FDS_PER_WORD. */
	walk.index = target->option / FDS_PER_WORD;
	walk.left = limit;
	bpf_loop(MAX_WORDS, visit_word, &walk, 0);
	row.pid = walk.pid;
	row.netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	row.fds = walk.fds;
	row.start_boottime = BPF_CORE_READ(leader, start_boottime);
	if (walk.index < walk.words)
		row.next = walk.index * FDS_PER_WORD;
	bpf_seq_write(walk.seq, &row, sizeof(row));
	return 0;
}
