// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Reports the life of each process of the host into a ring: its fork, its execs, and its end. It
 * only reads.
 *
 * The final counters are read after the kernel has released the process: nothing changes them any
 * more, and they are exactly what a parent that waited for it has added to its own.
 *
 * The structures have the layouts that src/bpf/lifetimes.rs reads.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FORK 1
#define EXEC 2
#define UNWAITED 3
#define END 4

#define SIGCHLD 17
#define SIG_IGN 1
#define SA_NOCLDWAIT 2

/* Bytes of the arguments, at most. */
#define MAX_ARGUMENTS 4096
#define COMM 16

/* The loader sets the size, in bytes. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

/* Records for which the ring had no room. Each record shows how many there were before it. */
__u64 lost = 0;

struct header {
	__u32 kind;
	__u32 pid;
	/* Records lost until now. */
	__u64 lost;
	/* The start of the process, in nanoseconds by the boot-time clock. */
	__u64 start;
};

struct fork {
	struct header header;
	__u32 parent;
	__u32 padding;
};

struct exec {
	struct header header;
	__u32 uid;
	/* The length of the arguments, all of them. */
	__u32 length;
	char comm[COMM];
	char arguments[MAX_ARGUMENTS];
};

struct end {
	struct header header;
	/* Its last parent. */
	__u32 reaper;
	__u32 exit_code;
	__u64 io[7];
	/* In nanoseconds, of all its threads: exact, and by samples. */
	__u64 cpu;
	__u64 utime;
	__u64 stime;
	/* Of the children that it reaped. */
	__u64 cutime;
	__u64 cstime;
	__u64 min_flt;
	__u64 maj_flt;
	__u64 cmin_flt;
	__u64 cmaj_flt;
};

_Static_assert(sizeof(struct fork) == 4 * 8, "as in src/bpf/lifetimes.rs");
_Static_assert(sizeof(struct exec) == 6 * 8 + MAX_ARGUMENTS, "as in src/bpf/lifetimes.rs");
_Static_assert(sizeof(struct end) == 20 * 8, "as in src/bpf/lifetimes.rs");

/* Where a record of variable length is made. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec);
} scratch SEC(".maps");

static __always_inline void count_lost(void)
{
	__sync_fetch_and_add(&lost, 1);
}

/* The reader is woken when half of the ring is full. Each process has a record that does so. */
static __always_inline __u64 wakeup(void)
{
	__u64 used = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);

	return used < bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE) / 2 ? BPF_RB_NO_WAKEUP :
								       BPF_RB_FORCE_WAKEUP;
}

static __always_inline void fill(struct header *header, __u32 kind, struct task_struct *task)
{
	header->kind = kind;
	header->pid = task->tgid;
	header->lost = *(volatile __u64 *)&lost;
	header->start = task->group_leader->start_boottime;
}

SEC("tp_btf/sched_process_fork")
int on_fork(__u64 *context)
{
	struct task_struct *parent = (void *)context[0];
	struct task_struct *child = (void *)context[1];
	struct fork *fork;

	/* A thread. */
	if (child->pid != child->tgid)
		return 0;
	fork = bpf_ringbuf_reserve(&ring, sizeof(*fork), 0);
	if (!fork) {
		count_lost();
		return 0;
	}
	fill(&fork->header, FORK, child);
	fork->parent = parent->tgid;
	fork->padding = 0;
	bpf_ringbuf_submit(fork, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_exec(__u64 *context)
{
	struct task_struct *task = (void *)context[0];
	struct mm_struct *mm = task->mm;
	__u32 key = 0;
	struct exec *exec = bpf_map_lookup_elem(&scratch, &key);
	__u64 start, length;

	if (!exec || !mm)
		return 0;
	fill(&exec->header, EXEC, task);
	exec->uid = BPF_CORE_READ(task, cred, euid.val);
	bpf_get_current_comm(exec->comm, sizeof(exec->comm));
	start = mm->arg_start;
	length = mm->arg_end - start;
	exec->length = length > 0xffffffff ? 0xffffffff : length;
	if (length > MAX_ARGUMENTS)
		length = MAX_ARGUMENTS;
	/* They were just written, so they are in memory. */
	if (bpf_probe_read_user(exec->arguments, length, (void *)start))
		length = 0;
	length &= 2 * MAX_ARGUMENTS - 1;
	if (length > MAX_ARGUMENTS)
		return 0;
	if (bpf_ringbuf_output(&ring, exec, __builtin_offsetof(struct exec, arguments) + length,
			       BPF_RB_NO_WAKEUP))
		count_lost();
	return 0;
}

/* The last thread of a process exits. Whether its parent will not wait for it is known now. */
SEC("tp_btf/sched_process_exit")
int on_exit(__u64 *context)
{
	struct task_struct *task = (void *)context[0];
	struct task_struct *leader = task->group_leader;
	struct sighand_struct *sighand;
	struct header *unwaited;

	if (task->signal->live.counter != 0 || leader->exit_signal != SIGCHLD)
		return 0;
	sighand = leader->real_parent->sighand;
	if (!sighand)
		return 0;
	if ((__u64)sighand->action[SIGCHLD - 1].sa.sa_handler != SIG_IGN &&
	    !(sighand->action[SIGCHLD - 1].sa.sa_flags & SA_NOCLDWAIT))
		return 0;
	unwaited = bpf_ringbuf_reserve(&ring, sizeof(*unwaited), 0);
	if (!unwaited) {
		count_lost();
		return 0;
	}
	fill(unwaited, UNWAITED, task);
	bpf_ringbuf_submit(unwaited, BPF_RB_NO_WAKEUP);
	return 0;
}

/* A process has been released, some time ago: its counters have those of all its threads. */
SEC("tp_btf/sched_process_free")
int on_free(__u64 *context)
{
	struct task_struct *task = (void *)context[0];
	struct signal_struct *signal = task->signal;
	struct end *end;

	/* A thread. */
	if (task->pid != task->tgid)
		return 0;
	end = bpf_ringbuf_reserve(&ring, sizeof(*end), 0);
	if (!end) {
		count_lost();
		return 0;
	}
	fill(&end->header, END, task);
	end->reaper = task->real_parent->tgid;
	end->exit_code = task->exit_code;
	end->io[0] = signal->ioac.rchar;
	end->io[1] = signal->ioac.wchar;
	end->io[2] = signal->ioac.syscr;
	end->io[3] = signal->ioac.syscw;
	end->io[4] = signal->ioac.read_bytes;
	end->io[5] = signal->ioac.write_bytes;
	end->io[6] = signal->ioac.cancelled_write_bytes;
	end->cpu = signal->sum_sched_runtime;
	end->utime = signal->utime;
	end->stime = signal->stime;
	end->cutime = signal->cutime;
	end->cstime = signal->cstime;
	end->min_flt = signal->min_flt;
	end->maj_flt = signal->maj_flt;
	end->cmin_flt = signal->cmin_flt;
	end->cmaj_flt = signal->cmaj_flt;
	bpf_ringbuf_submit(end, wakeup());
	return 0;
}
