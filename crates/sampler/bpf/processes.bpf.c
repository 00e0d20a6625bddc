// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Write one row for each process that has a program: iterators over all tasks of the pid
 * namespace, in ascending order of their ids. They only read. One writes all values, the other one CPU
 * time alone, which takes a third of the time.
 *
 * `row` and `cpu_row` have the layouts that src/bpf/row.rs reads.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The counters of the group are those of one moment. */
#define IS_CONSISTENT 1
/* The memory is known: the values are 0 if the main thread has none. */
#define HAS_MEMORY 2
/* The main thread has memory. */
#define HAS_MM 4
/* The number of descriptors is known. */
#define HAS_FDS 8
/* Only CPU time is known. */
#define HAS_ONLY_CPU 16

#define PF_KTHREAD 0x00200000
#define EXIT_DEAD 0x10
#define RLIMIT_NOFILE 7

/* Sizes of resident memory in the order of the kernel. */
#define COUNTERS 4

#define WORDS_PER_CHUNK 4
#define MAX_FDS (1 << 22)
#define MAX_THREADS (1 << 20)
#define ATTEMPTS 2

/* Set by the loader: the number of CPUs that can exist, if they have the numbers from 0 on;
 * otherwise 0. */
const volatile __u32 cpus = 0;

/* A variable of each CPU. Only its addresses are used: they show where the variables of each CPU
 * are. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} cpu_variable SEC(".maps");

/* What the threads of a process did. */
struct sums {
	__u64 cpu;
	__u64 utime;
	__u64 stime;
	__u64 io[7];
	__u64 min_flt;
	__u64 maj_flt;
	__u64 nvcsw;
	__u64 nivcsw;
};

struct row {
	__u32 pid;
	__u32 ppid;
	__u32 flags;
	__u32 threads;
	__u32 state;
	__u32 exit_state;
	__u64 time;
	__u64 start_boottime;
	__u64 exec_id;
	struct sums sums;
	__u64 cutime;
	__u64 cstime;
	__u64 cmin_flt;
	__u64 cmaj_flt;
	__u64 vsize;
	__u64 text_start;
	__u64 text_end;
	__u64 data;
	__s64 resident[COUNTERS];
	__u64 fds;
	__u64 fd_limit;
};

_Static_assert(sizeof(struct row) == 34 * 8, "as in src/bpf/row.rs");

struct cpu_row {
	__u32 pid;
	__u32 flags;
	__u64 time;
	__u64 start_boottime;
	__u64 exec_id;
	__u64 cpu;
};

_Static_assert(sizeof(struct cpu_row) == 5 * 8, "as in src/bpf/row.rs");

static __always_inline void add_io(__u64 *sum, const struct task_io_accounting *io)
{
	sum[0] += BPF_CORE_READ(io, rchar);
	sum[1] += BPF_CORE_READ(io, wchar);
	sum[2] += BPF_CORE_READ(io, syscr);
	sum[3] += BPF_CORE_READ(io, syscw);
	sum[4] += BPF_CORE_READ(io, read_bytes);
	sum[5] += BPF_CORE_READ(io, write_bytes);
	sum[6] += BPF_CORE_READ(io, cancelled_write_bytes);
}

/* Adds what a thread did. A pointer that is not the iterator's own cannot be followed directly. */
static __always_inline void add_thread(struct sums *sums, const struct task_struct *thread)
{
	sums->cpu += BPF_CORE_READ(thread, se.sum_exec_runtime);
	sums->utime += BPF_CORE_READ(thread, utime);
	sums->stime += BPF_CORE_READ(thread, stime);
	sums->min_flt += BPF_CORE_READ(thread, min_flt);
	sums->maj_flt += BPF_CORE_READ(thread, maj_flt);
	sums->nvcsw += BPF_CORE_READ(thread, nvcsw);
	sums->nivcsw += BPF_CORE_READ(thread, nivcsw);
	add_io(sums->io, &thread->ioac);
}

/* A row, and a walk over the threads of its process. */
struct work {
	struct row row;
	__u64 head;
	__u64 next;
};

static long visit_thread(__u64 index, void *context)
{
	struct work *work = context;
	struct task_struct *thread;

	if (work->next == work->head)
		return 1;
	thread = (void *)(work->next - bpf_core_field_offset(struct task_struct, thread_node));
	add_thread(&work->row.sums, thread);
	work->next = (__u64)BPF_CORE_READ(thread, thread_node.next);
	return 0;
}

/* Sums the counters of a process over its threads, living and ended, as the kernel does for
 * /proc/PID/io: the sequence shows whether a thread ended meanwhile. */
static __always_inline int sum_group(struct work *work, struct task_struct *task,
				     struct signal_struct *signal)
{
	unsigned int before = signal->stats_lock.seqcount.seqcount.sequence;
	struct row *row = &work->row;
	struct sums *sums = &row->sums;

	if (before & 1)
		return 0;
	sums->cpu = signal->sum_sched_runtime;
	sums->utime = signal->utime;
	sums->stime = signal->stime;
	sums->min_flt = signal->min_flt;
	sums->maj_flt = signal->maj_flt;
	sums->nvcsw = signal->nvcsw;
	sums->nivcsw = signal->nivcsw;
	sums->io[0] = signal->ioac.rchar;
	sums->io[1] = signal->ioac.wchar;
	sums->io[2] = signal->ioac.syscr;
	sums->io[3] = signal->ioac.syscw;
	sums->io[4] = signal->ioac.read_bytes;
	sums->io[5] = signal->ioac.write_bytes;
	sums->io[6] = signal->ioac.cancelled_write_bytes;
	row->cutime = signal->cutime;
	row->cstime = signal->cstime;
	row->cmin_flt = signal->cmin_flt;
	row->cmaj_flt = signal->cmaj_flt;
	row->threads = signal->nr_threads;
	work->head = (__u64)&signal->thread_head;
	work->next = (__u64)signal->thread_head.next;
	if (work->next == (__u64)&task->thread_node &&
	    (__u64)task->thread_node.next == work->head) {
		/* The only thread: its fields can be read directly. */
		sums->cpu += task->se.sum_exec_runtime;
		sums->utime += task->utime;
		sums->stime += task->stime;
		sums->min_flt += task->min_flt;
		sums->maj_flt += task->maj_flt;
		sums->nvcsw += task->nvcsw;
		sums->nivcsw += task->nivcsw;
		sums->io[0] += task->ioac.rchar;
		sums->io[1] += task->ioac.wchar;
		sums->io[2] += task->ioac.syscr;
		sums->io[3] += task->ioac.syscw;
		sums->io[4] += task->ioac.read_bytes;
		sums->io[5] += task->ioac.write_bytes;
		sums->io[6] += task->ioac.cancelled_write_bytes;
	} else {
		bpf_loop(MAX_THREADS, visit_thread, work, 0);
		if (work->next != work->head)
			return 0;
	}
	return signal->stats_lock.seqcount.seqcount.sequence == before;
}

/* A sum over the parts of the counters that each CPU has. */
struct per_cpu {
	__s64 *sum;
	/* The difference of the pointer to the parts and of that to the variable. */
	__u64 distance;
};

/* A pointer as a number, with which the verifier lets a program calculate. */
static __always_inline __u64 address_of(void *pointer)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &pointer);
	return address;
}

static long visit_cpu(__u64 index, void *context)
{
	struct per_cpu *per_cpu = context;
	__s32 part[COUNTERS] = {};
	__u32 key = 0;
	void *variable = bpf_map_lookup_percpu_elem(&cpu_variable, &key, index);

	if (!variable)
		return 1;
	bpf_probe_read_kernel(part, sizeof(part), (void *)(address_of(variable) + per_cpu->distance));
	for (int i = 0; i < COUNTERS; i++)
		per_cpu->sum[i] += part[i];
	return 0;
}

/* The pointer to the variable as the kernel keeps it, from which it calculates that of a CPU. */
static __always_inline __u64 cpu_variable_pointer(void)
{
	__u64 address = address_of(&cpu_variable) + bpf_core_field_offset(struct bpf_array, value);
	__u64 pointer = 0;

	bpf_probe_read_kernel(&pointer, sizeof(pointer), (void *)address);
	return pointer;
}

/* Resident memory and swap: exact, as `statm` shows it since Linux 6.16. */
static __always_inline int read_rss(struct row *row, struct mm_struct *mm)
{
	struct mm_struct___before_6_2 *old = (void *)mm;
	struct per_cpu per_cpu = { .sum = row->resident };
	__s64 before[COUNTERS];
	__u64 counters, variable;

	if (bpf_core_field_exists(old->rss_stat.count)) {
		row->resident[0] = BPF_CORE_READ(old, rss_stat.count[0].counter);
		row->resident[1] = BPF_CORE_READ(old, rss_stat.count[1].counter);
		row->resident[2] = BPF_CORE_READ(old, rss_stat.count[2].counter);
		row->resident[3] = BPF_CORE_READ(old, rss_stat.count[3].counter);
		return 1;
	}
	counters = (__u64)BPF_CORE_READ(mm, rss_stat[0].counters);
	variable = cpu_variable_pointer();
	if (!cpus || !variable)
		return 0;
	/* One allocation has the parts of all four. */
	if ((__u64)BPF_CORE_READ(mm, rss_stat[3].counters) != counters + 3 * sizeof(__s32))
		return 0;
	/* Only constant indices are relocated. */
	row->resident[0] = before[0] = mm->rss_stat[0].count;
	row->resident[1] = before[1] = mm->rss_stat[1].count;
	row->resident[2] = before[2] = mm->rss_stat[2].count;
	row->resident[3] = before[3] = mm->rss_stat[3].count;
	per_cpu.distance = counters - variable;
	bpf_loop(cpus, visit_cpu, &per_cpu, 0);
	/* A CPU may have moved its part into the count meanwhile. */
	return mm->rss_stat[0].count == before[0] && mm->rss_stat[1].count == before[1] &&
	       mm->rss_stat[2].count == before[2] && mm->rss_stat[3].count == before[3];
}

static __always_inline int read_memory(struct row *row, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;

	if (!mm) {
		row->flags |= HAS_MEMORY;
		return 1;
	}
	row->vsize = mm->total_vm;
	/* In bytes, not yet rounded to pages. */
	row->text_end = mm->end_code;
	row->data = mm->data_vm + mm->stack_vm;
	row->text_start = mm->start_code;
	if (!read_rss(row, mm) || task->mm != mm)
		return 0;
	row->flags |= HAS_MEMORY | HAS_MM;
	return 1;
}

/* Counts the bits that are set in a bitmap of descriptors. */
struct bitmap {
	__u64 words;
	__u64 count;
	__u32 left;
};

static __always_inline __u64 bits(__u64 word)
{
	word -= (word >> 1) & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (word * 0x0101010101010101ULL) >> 56;
}

static long visit_words(__u64 index, void *context)
{
	struct bitmap *bitmap = context;
	__u64 words[WORDS_PER_CHUNK] = {};
	__u32 left = bitmap->left;

	if (left == 0)
		return 1;
	if (left > WORDS_PER_CHUNK)
		left = WORDS_PER_CHUNK;
	bpf_probe_read_kernel(words, left * sizeof(__u64), (void *)bitmap->words);
	for (int i = 0; i < WORDS_PER_CHUNK; i++) {
		if (words[i])
			bitmap->count += bits(words[i]);
	}
	bitmap->words += sizeof(words);
	bitmap->left -= left;
	return 0;
}

static __always_inline int count_fds(struct row *row, struct task_struct *task)
{
	struct files_struct *files = task->files;
	struct bitmap bitmap = {};
	struct fdtable *fdt;
	__u32 max;

	if (files) {
		fdt = files->fdt;
		max = fdt->max_fds;
		if (max > MAX_FDS)
			return 0;
		bitmap.left = max / 64;
		bitmap.words = (__u64)fdt->open_fds;
		bpf_loop(MAX_FDS / 64 / WORDS_PER_CHUNK + 1, visit_words, &bitmap, 0);
		if (task->files != files || files->fdt != fdt)
			return 0;
	}
	row->fds = bitmap.count;
	row->flags |= HAS_FDS;
	return 1;
}

/* Whether a task stands for a process that has a row. */
static __always_inline int has_row(struct task_struct *task)
{
	if (!task || task->pid != task->tgid || task->flags & PF_KTHREAD)
		return 0;
	/* Otherwise its parent has begun to add its counters to its own. */
	return task->exit_state != EXIT_DEAD;
}

SEC("iter/task")
int processes(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct signal_struct *signal;
	struct work work = {};
	struct row *row = &work.row;

	if (!has_row(task))
		return 0;
	signal = task->signal;
	row->pid = task->pid;
	row->ppid = task->real_parent->tgid;
	row->time = bpf_ktime_get_ns();
	row->start_boottime = task->start_boottime;
	row->exec_id = task->self_exec_id;
	for (int i = 0; i < ATTEMPTS; i++) {
		if (sum_group(&work, task, signal)) {
			row->flags |= IS_CONSISTENT;
			break;
		}
	}
	for (int i = 0; i < ATTEMPTS; i++) {
		if (read_memory(row, task))
			break;
	}
	for (int i = 0; i < ATTEMPTS; i++) {
		if (count_fds(row, task))
			break;
	}
	row->state = task->__state;
	row->exit_state = task->exit_state;
	row->fd_limit = signal->rlim[RLIMIT_NOFILE].rlim_cur;
	bpf_seq_write(context->meta->seq, row, sizeof(*row));
	return 0;
}

/* A walk over the threads of a process. */
struct cpu_work {
	__u64 cpu;
	__u64 head;
	__u64 next;
};

static long visit_thread_cpu(__u64 index, void *context)
{
	struct cpu_work *work = context;
	struct task_struct *thread;

	if (work->next == work->head)
		return 1;
	thread = (void *)(work->next - bpf_core_field_offset(struct task_struct, thread_node));
	work->cpu += BPF_CORE_READ(thread, se.sum_exec_runtime);
	work->next = (__u64)BPF_CORE_READ(thread, thread_node.next);
	return 0;
}

/* As sum_group. */
static __always_inline int sum_cpu(struct cpu_work *work, struct task_struct *task,
				   struct signal_struct *signal)
{
	unsigned int before = signal->stats_lock.seqcount.seqcount.sequence;

	if (before & 1)
		return 0;
	work->cpu = signal->sum_sched_runtime;
	work->head = (__u64)&signal->thread_head;
	work->next = (__u64)signal->thread_head.next;
	if (work->next == (__u64)&task->thread_node &&
	    (__u64)task->thread_node.next == work->head) {
		work->cpu += task->se.sum_exec_runtime;
	} else {
		bpf_loop(MAX_THREADS, visit_thread_cpu, work, 0);
		if (work->next != work->head)
			return 0;
	}
	return signal->stats_lock.seqcount.seqcount.sequence == before;
}

SEC("iter/task")
int cpu_times(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct cpu_work work = {};
	struct cpu_row row = {};

	if (!has_row(task))
		return 0;
	row.pid = task->pid;
	row.time = bpf_ktime_get_ns();
	row.start_boottime = task->start_boottime;
	row.exec_id = task->self_exec_id;
	for (int i = 0; i < ATTEMPTS; i++) {
		if (sum_cpu(&work, task, task->signal)) {
			row.flags = HAS_ONLY_CPU;
			break;
		}
	}
	row.cpu = work.cpu;
	bpf_seq_write(context->meta->seq, &row, sizeof(row));
	return 0;
}
