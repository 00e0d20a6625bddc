//! One small history for each rule of the accounting; see [`table`](super::table).

use super::table::{check, check_all};

#[test]
fn reaped_child_counts_once() {
    // With the byte that it wrote after its last reading.
    check(
        "fork(1,2) fork(2,3) write(2,10) write(3,100) cycle => 110
         write(3,1) exit(3) wait(2) cycle*2 => 111",
    );
}

#[test]
fn zombie_counts_before_and_after_wait() {
    check(
        "fork(1,2) fork(2,3) cycle write(3,100) exit(3) cycle*3 => 100
         wait(2) cycle*2 => 100",
    );
}

#[test]
fn auto_reaped_child_is_kept() {
    // The parent grows by as much as the child did: only cminflt shows that it has not
    // waited for the child.
    check(
        "fork(1,2,a,ignores) fork(2,3) write(3,100) cycle
         write(2,100) exit(3) cycle*2 => 200",
    );
}

/// Whether the parent ignored SIGCHLD was read after it had begun to. The child that it
/// had waited for before was taken for lost, and counted twice.
#[test]
fn parent_ignores_sigchld_after_wait() {
    check(
        "fork(1,2) fork(2,3) write(3,100) cycle => 100
         exit(3) wait(2) ignore(2) cycle*2 => 100",
    );
}

/// As a process that ignores SIGCHLD uses system(3): it ignored it at both readings.
#[test]
fn parent_waits_for_one_child() {
    check(
        "fork(1,2,a,ignores) fork(2,3) write(3,100) cycle => 100
         unignore(2) exit(3) wait(2) ignore(2) cycle*2 => 100",
    );
}

/// The parent has waited for another child before, and has grown by more than this child
/// did: only the fact that it has waited for none since shows that the child is lost.
#[test]
fn parent_stops_waiting() {
    check(
        "fork(1,2) fork(2,3) fork(2,4) write(3,10) write(4,100) cycle
         exit(3) wait(2) cycle => 110
         ignore(2) cycle => 110
         write(2,1000) exit(4) cycle*2 => 1110",
    );
}

/// The growth of the parent allows either of two children that exited at once. The wrong
/// one was taken out of it, and the other one counted twice.
#[test]
fn two_candidates_for_one_growth() {
    for (lost, absorbed) in [(30, 50), (50, 30)] {
        check(&format!(
            "fork(1,2,a,ignores) fork(2,3) fork(2,4) write(3,{lost}) write(4,{absorbed})
             cycle => 80
             exit(3) unignore(2) exit(4) wait(2) cycle*2 => 80"
        ));
    }
}

/// The command line of a new process blocked, and the process was taken for one that
/// came by exec: all its io was lost.
#[test]
fn late_match_counts_history() {
    check(
        "fork(1,2) block(2) write(2,1000) cycle*2 => 0
         unblock(2) cycle => 1000",
    );
}

/// Meanwhile the process was an untracked ancestor. The io that it inherited from the
/// process below it is counted already.
#[test]
fn late_match_excludes_counted_children() {
    check(
        "fork(1,2) fork(2,3) fork(3,4) block(3) write(3,5) write(4,100) cycle => 100
         exit(4) wait(3) cycle*2 => 100
         unblock(3) cycle*2 => 105",
    );
}

#[test]
fn unreadable_join_starts_at_first_read() {
    check(
        "fork(1,2,-) write(2,1000) cycle*3 => 0
         hide(2) exec(2,a) write(2,100) cycle*2 => 0
         show(2) cycle => 0
         write(2,7) cycle => 7
         exec(2,-) cycle
         write(2,2000) hide(2) exec(2,a) cycle => 7
         show(2) cycle
         write(2,1) cycle => 8",
    );
}

/// A process that has belonged to the image since its start counts in full, whenever it
/// becomes readable.
#[test]
fn unread_since_start_counts_history() {
    check(
        "fork(1,2) write(2,1000) hide(2) cycle => 0
         show(2) cycle => 1000",
    );
}

/// After some cycles without a reading of the parent the child was taken for lost, and
/// counted again when its parent was readable.
#[test]
fn parent_unreadable_for_long() {
    for (flags, hidden, end) in
        [("", 20, 615), ("", 3, 615), (",ignores", 20, 610), (",ignores", 3, 610)]
    {
        // The last bytes of the child are in its parent, if that has waited for it.
        check(&format!(
            "fork(1,2,a{flags}) fork(2,3) write(2,10) write(3,100) cycle => 110
             hide(2) write(3,5) exit(3) wait(2) write(2,500) cycle*{hidden} => 110
             show(2) cycle*2 => {end}"
        ));
    }
}

/// The unreadable parent exits too, and its parent inherits both.
#[test]
fn deferred_charge_follows_the_account() {
    check(
        "fork(1,2) fork(2,3) fork(3,4) write(3,10) write(4,100) cycle => 110
         hide(3) exit(4) wait(3) cycle*12 => 110
         exit(3) wait(2) cycle*2 => 110",
    );
}

/// It exits within the window, and a process of no image waits for it: its io was lost.
#[test]
fn exit_in_first_window_keeps_first_reading() {
    check(
        "fork(1,2,-) cycle
         fork(2,3) write(3,100) open write(3,1) exit(3) wait(2) close => 100
         cycle => 100",
    );
}

/// The same with a parent of the image, old or as new as the child.
#[test]
fn exit_in_first_window_counts_once() {
    for before in ["", "cycle"] {
        check(&format!(
            "fork(1,2) {before} fork(2,3) write(2,10) write(3,100)
             open write(3,1) exit(3) wait(2) close => 111
             cycle => 111"
        ));
    }
}

#[test]
fn child_of_unmatched_parent_is_kept() {
    check(
        "fork(1,2,-) fork(2,3) write(3,100) cycle => 100
         exit(3) wait(2) cycle*2 => 100",
    );
}

#[test]
fn unmatched_intermediate_parent() {
    // The io of the intermediate process itself is the server's now.
    check(
        "fork(1,2) fork(2,3,-) fork(3,4) write(4,100) cycle => 100
         exit(4) wait(3) cycle => 100
         write(3,7) exit(3) wait(2) cycle => 107",
    );
}

/// The intermediate process was a member once, so it has a reading, but an old one. The
/// worker was taken for lost after a while, and counted again in the server.
#[test]
fn former_member_as_intermediate_parent() {
    check(
        "fork(1,2) fork(2,3) fork(3,4) write(3,5) write(4,100) cycle
         exec(3,-) cycle
         exit(4) wait(3) cycle*12 => 105
         exit(3) wait(2) cycle*2 => 105",
    );
}

/// Its io outside the image was counted as the image's when it came back.
#[test]
fn rejoin_excludes_io_done_outside() {
    check(
        "fork(1,2) write(2,10) cycle => 10
         exec(2,-) cycle => 10
         write(2,1000) cycle => 10
         exec(2,a) cycle => 10
         write(2,3) cycle => 13",
    );
}

/// With as many processes as before, a chosen pid is noticed in the next cycle at the latest.
#[test]
fn reused_pid_is_another_process() {
    check(
        "fork(1,2,a,reuse) write(2,100) cycle
         exit(2) fork(1,3,a,reuse) write(3,5) cycle => <=105 cycle => 105",
    );
}

/// A pid belonged to another process when `stat` was read, and that one was taken for the
/// listed process. It counted once as that, and once more as itself.
#[test]
fn reused_pid_is_not_read_as_listed() {
    check_all(
        (60, 0),
        "fork(1,2) fork(2,3) write(3,10) cycle*3 => 10
         fork(2,4,a,reuse)
         @$i exit(4) @0 wait(2) @0 fork(2,5,a,reuse) @0 write(5,1000) cycle*12 => <=1010
         cycle => 1010",
    );
}

/// The reading of its parent at the start of the window was taken for one of the end,
/// which failed.
#[test]
fn parent_read_only_at_start_of_window() {
    check(
        "fork(1,2) fork(2,3) write(3,100) open exit(3) wait(2) hide(2) close
         show(2) cycle*2 => 100",
    );
}

/// The io that it did before it left is known to be counted until it is read again, even
/// if it never is.
#[test]
fn unread_rejoin_then_exit() {
    check(
        "fork(1,2) fork(2,3) write(3,100) cycle => 100
         exec(3,-) cycle => 100
         hide(3) exec(3,a) cycle => 100
         exit(3) wait(2) cycle*2 => 100",
    );
}

/// A process of no image waited for the child and joined nothing. An ancestor of that
/// process joined later, and then inherited the child through it.
#[test]
fn joining_ancestor_excludes_untracked_absorption() {
    check(
        "fork(1,2,-) fork(2,3,-) fork(3,4) write(4,100) cycle => 100
         exit(4) wait(3) cycle => 100
         exec(2,a) cycle => 100
         write(3,7) exit(3) wait(2) cycle*2 => 107",
    );
}

/// The parent, which could not be read, was waited for between the reading of the
/// grandparent and the end of the cycle: that reading was taken to hold both or none.
#[test]
fn grandchild_inherited_with_late_parent() {
    check_all(
        (40, 0),
        "fork(1,2) fork(2,3) fork(3,4) write(4,100) cycle => 100
         hide(3) exit(4) wait(3) cycle => 100
         exit(3) @$i wait(2) cycle*4 => 100",
    );
}

/// The leader exits while another thread works on.
#[test]
fn process_without_leader_counts() {
    check(
        "fork(1,2) write(2,10) cycle => 10
         exit_leader(2) write(2,5) cycle => 15
         write(2,1) cycle*3 => 16
         exit(2) cycle*2 => 16",
    );
}

/// The kernel drops the entries of `/proc` from its cache, and they come back with other
/// inodes: they are still the same processes.
#[test]
fn new_inode_is_the_same_process() {
    check(
        "fork(1,2) fork(2,3) tick() write(3,10) cycle*3 => 10
         drop_caches() write(3,1) cycle*2 => 11
         exit(3) wait(2) cycle*2 => 11",
    );
}

/// The same if the process was first seen in the clock tick in which it started: another one
/// could have had its pid and its start time, until it is seen again.
#[test]
fn start_time_identifies_later() {
    check(
        "fork(1,2) write(2,10) cycle => 10
         tick() cycle => 10
         drop_caches() write(2,1) cycle*9 => 11",
    );
}

/// The entry is dropped after the listing and before the descriptors are opened, so these are
/// those of the process although its inode has changed. It counted a second time.
#[test]
fn entry_dropped_before_descriptors_are_open() {
    check_all(
        (40, 0),
        "fork(1,2) tick() write(2,10) @$i drop_caches() cycle*12 => <=10
         cycle => 10",
    );
}

/// The leader exits between the first reads of `stat` and of the command line: the process
/// was taken for a zombie, and never counted.
#[test]
fn leader_exits_before_first_match() {
    check_all(
        (30, 0),
        "fork(1,2) @$i exit_leader(2) @0 write(2,5) cycle*12 => <=5
         cycle => 5",
    );
}

/// A command line was read by the pid of a process that had exited. The images of the next
/// process were taken for its own, and its io was missing in its parent's image.
#[test]
fn command_line_of_reused_pid_is_ignored() {
    check_all(
        (60, 0),
        "fork(1,2,b) fork(2,3) write(3,1)
         @$i exit(3) @0 wait(2) @0 fork(1,4,b,reuse) cycle*14 => b:<=1,a:<=1
         cycle => b:1",
    );
}

/// A remount with `hidepid` hides the process from the listing, but not from the descriptors
/// that are open.
#[test]
fn unlisted_process_still_counts() {
    check(
        "open files: fork(1,2) fork(2,3) write(3,10) cycle*2 => 10
         unlist(3) write(3,1) cycle*9 => 11
         list(3) write(3,1) cycle*9 => 12
         unlist(3) cycle exit(3) wait(2) cycle*3 => 12",
    );
}

/// A denied `io` is not read again for many cycles, and its parent may inherit it meanwhile.
#[test]
fn denied_child_counts_once() {
    check(
        "fork(1,2) fork(2,3) write(3,100) cycle => 100
         deny(3) write(3,5) cycle*3 => 100
         show(3) exit(3) wait(2) cycle*2 => 105",
    );
}

/// A listing of new pids does not show the parent, whose pid was chosen: the number of processes
/// is the same. The children that the parent had reaped counted twice once it was found.
#[test]
fn parent_with_a_chosen_pid_is_found_with_its_child() {
    // With the pid of a process that has exited since the last listing, or earlier.
    for before in
        ["fork(1,2,-) cycle exit(2)", "fork(1,5,-) fork(1,2,-) cycle exit(5) cycle exit(2)"]
    {
        check(&format!(
            "{before} fork(1,3,a,reuse) fork(3,4) write(4,100) cycle => 100
             exit(4) wait(3) cycle*3 => 100"
        ));
    }
}

/// A process exits between a listing and the read of its new parent. Its last parent's pid belongs
/// to a process below it then: both had each other as ancestors, and were not read.
#[test]
fn reused_pid_of_an_ancestor() {
    check_all(
        (40, 0),
        "fork(1,2,-) fork(2,3) fork(3,4) write(4,10) cycle => 10
         exit(2) fork(4,5,-,reuse) write(4,100) @$i exit(3) cycle => 110
         cycle*2 => 110",
    );
}

/// The counters of a recent process without an image were taken for those of the next owner of
/// its pid, which could not be read then.
#[test]
fn recent_process_with_a_reused_pid() {
    check(
        "cycle fork(1,2,-) fork(1,3,-) write(2,5) cycle => 0
         exit(2) exit(3) fork(1,4,-,reuse) write(4,100) hide(4) cycle => 0
         show(4) exec(4,a) cycle => 0
         write(4,1) cycle => 1",
    );
}

/// The parent joins another image, and its counters until then have the child: their growth does
/// not show it. The child counted again when the next parent had both.
#[test]
fn parent_of_exited_process_joins_another_image() {
    for images in ["b", "ab"] {
        check_all(
            (30, 0),
            &format!(
                "fork(1,2) fork(2,3,-) fork(3,4) write(4,100) cycle*3 => 100
                 @$i exit(4) @0 wait(3) @0 exec(3,{images}) cycle*3 => 100
                 exit(3) wait(2) cycle*3 => 100"
            ),
        );
    }
}

/// The nearest ancestor that may have an orphan's io cannot be read, and the one that has it is
/// read: the orphan counted twice while the other reading was waited for.
#[test]
fn adopted_orphan_below_an_unreadable_process() {
    check(
        "fork(1,2,b,subreaper) fork(2,3) fork(3,4,-) fork(4,5,b) write(5,100) cycle*3 => b:100
         exit(4) exit(5) wait(2) wait(3) hide(3) cycle*3 => b:100
         show(3) cycle*3 => b:100",
    );
}
