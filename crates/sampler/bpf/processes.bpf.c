// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Writes the numbers of the processes that are requested: an iterator over the entries of a map, which finds the
 * process of each in the kernel's table of ids. So its cost does not depend on the number of other processes. It
 * only reads.
 *
 * `request`, `cpu_row` and `row` have the layouts that src/bpf/row.rs and src/bpf/snapshot.rs read and write.
 */
#include "kernel.h"
#include "find.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The counters of the group are those of one moment. */
#define IS_CONSISTENT 1
/* The memory is known: the values are 0 if the main thread has none. */
#define HAS_MEMORY 2
/* The main thread has memory. */
#define HAS_MM 4
/* The number of descriptors is known. */
#define HAS_FDS 8
/* CPU time is known. */
#define HAS_CPU 16
/* All values follow. */
#define IS_COMPLETE 32
/* The main thread is the only one. */
#define IS_SINGLE 64
/* The process has not run: nothing follows. */
#define IS_UNCHANGED 128

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

/* Options of a request. Only CPU time is requested, */
#define ONLY_CPU 1
/* the known time is that of the main thread, which was the only one. If CPU time is still the known one, the other
 * values are not requested. 0: they are. */
#define IS_MAIN 2

/* What the threads of a process did. */
struct sums {
	__u64 utime;
	__u64 stime;
	__u64 io[7];
	__u64 min_flt;
	__u64 maj_flt;
	__u64 nvcsw;
	__u64 nivcsw;
};

struct head {
	__u32 pid;
	__u32 flags;
	__u64 time;
};

struct cpu_row {
	struct head head;
	/* 0 if only CPU time is requested. */
	__u64 start_boottime;
	__u64 cpu;
	/* That of the main thread. */
	__u64 main_cpu;
};

struct row {
	struct cpu_row cpu;
	__u32 ppid;
	__u32 threads;
	__u32 state;
	__u32 exit_state;
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

_Static_assert(sizeof(struct head) == 2 * 8, "as in src/bpf/row.rs");
_Static_assert(sizeof(struct cpu_row) == 5 * 8, "as in src/bpf/row.rs");
_Static_assert(sizeof(struct row) == 35 * 8, "as in src/bpf/row.rs");

static __always_inline void add_io(__u64 *sum, const struct task_io_accounting *io)
{
	__u64 counters[7] = {};

	/* The fields lie one behind the other: that is verified when the program is loaded. */
	bpf_probe_read_kernel(counters, sizeof(counters), &io->rchar);
	for (int i = 0; i < 7; i++)
		sum[i] += counters[i];
}

/* Adds what a thread did. */
static __always_inline void add_thread(struct row *row, const struct task_struct *thread)
{
	struct sums *sums = &row->sums;

	row->cpu.cpu += BPF_CORE_READ(thread, se.sum_exec_runtime);
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
	add_thread(&work->row, thread);
	work->next = (__u64)BPF_CORE_READ(thread, thread_node.next);
	return 0;
}

static __always_inline unsigned int sequence(struct signal_struct *signal)
{
	return BPF_CORE_READ(signal, stats_lock.seqcount.seqcount.sequence);
}

/* Sums the counters of a process over its threads, living and ended, as the kernel does for
 * /proc/PID/io: the sequence shows whether a thread ended meanwhile. */
static __noinline int sum_group(struct work *work, struct task_struct *task,
				     struct signal_struct *signal)
{
	unsigned int before = sequence(signal);
	struct row *row = &work->row;
	struct sums *sums = &row->sums;

	if (before & 1)
		return 0;
	row->cpu.cpu = BPF_CORE_READ(signal, sum_sched_runtime);
	sums->utime = BPF_CORE_READ(signal, utime);
	sums->stime = BPF_CORE_READ(signal, stime);
	sums->min_flt = BPF_CORE_READ(signal, min_flt);
	sums->maj_flt = BPF_CORE_READ(signal, maj_flt);
	sums->nvcsw = BPF_CORE_READ(signal, nvcsw);
	sums->nivcsw = BPF_CORE_READ(signal, nivcsw);
	for (int i = 0; i < 7; i++)
		sums->io[i] = 0;
	add_io(sums->io, &signal->ioac);
	row->cutime = BPF_CORE_READ(signal, cutime);
	row->cstime = BPF_CORE_READ(signal, cstime);
	row->cmin_flt = BPF_CORE_READ(signal, cmin_flt);
	row->cmaj_flt = BPF_CORE_READ(signal, cmaj_flt);
	row->threads = BPF_CORE_READ(signal, nr_threads);
	work->head = (__u64)&signal->thread_head;
	work->next = (__u64)BPF_CORE_READ(signal, thread_head.next);
	bpf_loop(MAX_THREADS, visit_thread, work, 0);
	return work->next == work->head && sequence(signal) == before;
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
	row->resident[0] = before[0] = BPF_CORE_READ(mm, rss_stat[0].count);
	row->resident[1] = before[1] = BPF_CORE_READ(mm, rss_stat[1].count);
	row->resident[2] = before[2] = BPF_CORE_READ(mm, rss_stat[2].count);
	row->resident[3] = before[3] = BPF_CORE_READ(mm, rss_stat[3].count);
	per_cpu.distance = counters - variable;
	bpf_loop(cpus, visit_cpu, &per_cpu, 0);
	/* A CPU may have moved its part into the count meanwhile. */
	return BPF_CORE_READ(mm, rss_stat[0].count) == before[0] &&
	       BPF_CORE_READ(mm, rss_stat[1].count) == before[1] &&
	       BPF_CORE_READ(mm, rss_stat[2].count) == before[2] &&
	       BPF_CORE_READ(mm, rss_stat[3].count) == before[3];
}

static __noinline int read_memory(struct row *row, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	if (!mm) {
		row->cpu.head.flags |= HAS_MEMORY;
		return 1;
	}
	row->vsize = BPF_CORE_READ(mm, total_vm);
	/* In bytes, not yet rounded to pages. */
	row->text_end = BPF_CORE_READ(mm, end_code);
	row->data = BPF_CORE_READ(mm, data_vm) + BPF_CORE_READ(mm, stack_vm);
	row->text_start = BPF_CORE_READ(mm, start_code);
	if (!read_rss(row, mm) || BPF_CORE_READ(task, mm) != mm)
		return 0;
	row->cpu.head.flags |= HAS_MEMORY | HAS_MM;
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

static __noinline int count_fds(struct row *row, struct task_struct *task)
{
	struct files_struct *files = BPF_CORE_READ(task, files);
	struct bitmap bitmap = {};
	struct fdtable *fdt;
	__u32 max;

	if (files) {
		fdt = BPF_CORE_READ(files, fdt);
		max = BPF_CORE_READ(fdt, max_fds);
		if (max > MAX_FDS)
			return 0;
		bitmap.left = max / 64;
		bitmap.words = (__u64)BPF_CORE_READ(fdt, open_fds);
		bpf_loop(MAX_FDS / 64 / WORDS_PER_CHUNK + 1, visit_words, &bitmap, 0);
		if (BPF_CORE_READ(task, files) != files || BPF_CORE_READ(files, fdt) != fdt)
			return 0;
	}
	row->fds = bitmap.count;
	row->cpu.head.flags |= HAS_FDS;
	return 1;
}

/* A walk over the threads of a process. */
struct cpu_walk {
	__u64 cpu;
	__u64 head;
	__u64 next;
};

static long visit_thread_cpu(__u64 index, void *context)
{
	struct cpu_walk *walk = context;
	struct task_struct *thread;

	if (walk->next == walk->head)
		return 1;
	thread = (void *)(walk->next - bpf_core_field_offset(struct task_struct, thread_node));
	walk->cpu += BPF_CORE_READ(thread, se.sum_exec_runtime);
	walk->next = (__u64)BPF_CORE_READ(thread, thread_node.next);
	return 0;
}

/* As sum_group, CPU time alone. */
static __noinline int sum_cpu(struct cpu_row *row, struct task_struct *task,
				   struct signal_struct *signal)
{
	struct cpu_walk walk = {};
	unsigned int before;

	/* The main thread alone: with a thread that ended meanwhile there would be another number of them. */
	if (BPF_CORE_READ(signal, nr_threads) == 1) {
		row->cpu = BPF_CORE_READ(signal, sum_sched_runtime) + row->main_cpu;
		row->head.flags = HAS_CPU | IS_SINGLE;
		return BPF_CORE_READ(signal, nr_threads) == 1;
	}
	before = sequence(signal);
	if (before & 1)
		return 0;
	walk.cpu = BPF_CORE_READ(signal, sum_sched_runtime);
	walk.head = (__u64)&signal->thread_head;
	walk.next = (__u64)BPF_CORE_READ(signal, thread_head.next);
	bpf_loop(MAX_THREADS, visit_thread_cpu, &walk, 0);
	row->cpu = walk.cpu;
	row->head.flags = HAS_CPU;
	return walk.next == walk.head && sequence(signal) == before;
}

/* Whether a process has no thread but its main thread: the list of all has one entry. */
static __always_inline int is_single(struct task_struct *task)
{
	struct list_head node = {};

	bpf_core_read(&node, sizeof(node), &task->thread_node);
	return node.next == node.prev;
}

/* Whether a process has run since its CPU time was this. Without running it cannot exit, execute a program, or
 * start a thread. Each structure that is read costs a miss of the cache, so its signal_struct is not. */
static __always_inline int has_run(struct task_struct *task, struct target *target, __u64 main_cpu)
{
	return !(target->option & IS_MAIN) || main_cpu != target->known_cpu || !is_single(task);
}

SEC("iter/bpf_map_elem")
int processes(struct bpf_iter__bpf_map_elem *context)
{
	struct signal_struct *signal;
	struct task_struct *task;
	struct work work = {};
	struct target *target;
	struct row *row = &work.row;
	struct head *head = &row->cpu.head;
	__u64 limit = 0;

	target = next_target(context, &limit);
	if (!target)
		return 0;
	task = find_process(target->pid);
	if (!task)
		return 0;
	head->pid = target->pid;
	head->time = bpf_ktime_get_ns();
	row->cpu.main_cpu = BPF_CORE_READ(task, se.sum_exec_runtime);
	if (!has_run(task, target, row->cpu.main_cpu)) {
		head->flags = IS_UNCHANGED;
		bpf_seq_write(context->meta->seq, head, sizeof(*head));
		return 0;
	}
	signal = BPF_CORE_READ(task, signal);
	if (is_reaped(task, signal))
		return 0;
	for (int i = 0; i < ATTEMPTS; i++) {
		if (sum_cpu(&row->cpu, task, signal))
			break;
		head->flags = 0;
	}
	if (!(target->option & ONLY_CPU))
		row->cpu.start_boottime = BPF_CORE_READ(task, start_boottime);
	if (target->option & ONLY_CPU ||
	    (head->flags && !(target->option & IS_MAIN) && target->known_cpu &&
	     row->cpu.cpu == target->known_cpu)) {
		bpf_seq_write(context->meta->seq, &row->cpu, sizeof(row->cpu));
		return 0;
	}
	head->flags = IS_COMPLETE | (head->flags & IS_SINGLE);
	row->ppid = BPF_CORE_READ(task, real_parent, tgid);
	row->exec_id = BPF_CORE_READ(task, self_exec_id);
	for (int i = 0; i < ATTEMPTS; i++) {
		if (sum_group(&work, task, signal)) {
			head->flags |= IS_CONSISTENT | HAS_CPU;
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
	row->state = BPF_CORE_READ(task, __state);
	row->exit_state = BPF_CORE_READ(task, exit_state);
	row->fd_limit = BPF_CORE_READ(signal, rlim[RLIMIT_NOFILE].rlim_cur);
	bpf_seq_write(context->meta->seq, row, sizeof(*row));
	return 0;
}
