/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only */
/*
 * Finds a process by its id in the initial pid namespace: in the kernel's table of ids, an xarray (struct idr), as
 * find_task_by_pid_ns does. The iterators run under rcu_read_lock, which keeps what is found. All fields are read
 * by bpf_probe_read_kernel, which also fails calmly.
 */
#ifndef PSSTAT_FIND_H
#define PSSTAT_FIND_H

#include "kernel.h"

/* The processes of one pass, and of one over few. */
#define MAX_TARGETS 4096
#define FEW_TARGETS 64

#define EXIT_DEAD 0x10
#define PIDTYPE_TGID 1
/* 64 slots of each node are enough for 2^24 ids with this number of levels. */
#define MAX_LEVELS 4

/* A process to read. */
struct target {
	__u32 pid;
	/* Flags, or the descriptor from which on to read. */
	__u32 option;
	__u64 known_cpu;
};

struct request {
	__u64 count;
	__u64 limit;
	struct target targets[MAX_TARGETS];
};

struct few_request {
	__u64 count;
	__u64 limit;
	struct target targets[FEW_TARGETS];
};

_Static_assert(sizeof(struct request) == (2 + 2 * MAX_TARGETS) * 8, "as in src/bpf/loader.rs");
_Static_assert(sizeof(struct few_request) == (2 + 2 * FEW_TARGETS) * 8, "as in src/bpf/loader.rs");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct request);
} requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct few_request);
} few_requests SEC(".maps");

/* An iterator over one of them runs once for each entry. Entries cost time even if there is no process for them,
 * so there are two. The values of the second one are set to 1 by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} turns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FEW_TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} few_turns SEC(".maps");

/* The process of an entry; 0 if there is none. */
static __always_inline struct target *next_target(struct bpf_iter__bpf_map_elem *context,
						  __u64 *limit)
{
	__u32 *turn = context->key, *is_few = context->value;
	struct few_request *few;
	struct request *request;
	__u32 index, key = 0;

	if (!turn || !is_few)
		return 0;
	index = *turn;
	if (*is_few) {
		few = bpf_map_lookup_elem(&few_requests, &key);
		if (!few || index >= few->count || index >= FEW_TARGETS)
			return 0;
		*limit = few->limit;
		return &few->targets[index];
	}
	request = bpf_map_lookup_elem(&requests, &key);
	if (!request || index >= request->count || index >= MAX_TARGETS)
		return 0;
	*limit = request->limit;
	return &request->targets[index];
}

/* The address of the initial pid namespace, once it is known. */
static struct pid_namespace *initial_namespace;

static __always_inline struct pid_namespace *pid_namespace(void)
{
	struct task_struct *current;

	if (!initial_namespace) {
		current = (void *)bpf_get_current_task();
		initial_namespace = BPF_CORE_READ(current, thread_pid, numbers[0].ns);
	}
	return initial_namespace;
}

/* The entry of the table of ids of the initial pid namespace. */
static __always_inline __u64 find_id(__u32 id)
{
	__u64 entry = (__u64)BPF_CORE_READ(pid_namespace(), idr.idr_rt.xa_head);
	__u64 slots = bpf_core_field_size(((struct xa_node *)0)->slots) / sizeof(entry);
	__u64 bits = slots == 64 ? 6 : 4;
	struct xa_node *node;
	__u64 shift = 0;

	for (int level = 0; level < MAX_LEVELS; level++) {
		/* Not a node. */
		if ((entry & 3) != 2 || entry < 4096)
			break;
		node = (void *)(entry - 2);
		if (level == 0) {
			shift = BPF_CORE_READ(node, shift) & 31;
			/* Above the highest id. */
			if (id >> shift >= slots)
				return 0;
		} else {
			shift -= bits;
		}
		entry = 0;
		bpf_probe_read_kernel(&entry, sizeof(entry),
				      (void *)((__u64)node + bpf_core_field_offset(struct xa_node, slots) +
					       ((id >> (shift & 31)) & (slots - 1)) * sizeof(entry)));
	}
	/* Pointers are multiples of 4; others mark places that are reserved. */
	return entry & 3 ? 0 : entry;
}

/* The main thread of the process with this id; 0 if there is none. */
static __noinline struct task_struct *find_process(__u32 id)
{
	struct pid *pid = (void *)find_id(id);
	__u64 link;

	if (!pid)
		return 0;
	link = (__u64)BPF_CORE_READ(pid, tasks[PIDTYPE_TGID].first);
	if (!link)
		return 0;
	return (void *)(link - bpf_core_field_offset(struct task_struct, pid_links) -
			PIDTYPE_TGID * sizeof(struct hlist_node));
}

/* Whether the parent of a process has begun to add its counters to its own. */
static __always_inline int is_reaped(struct task_struct *task, struct signal_struct *signal)
{
	/* The number of threads that have not begun to exit lies in the memory that is read anyway. */
	return BPF_CORE_READ(signal, live.counter) == 0 &&
	       BPF_CORE_READ(task, exit_state) == EXIT_DEAD;
}

#endif
