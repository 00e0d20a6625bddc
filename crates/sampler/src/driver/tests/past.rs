//! One small history for each rule about io from before the first cycle; see
//! [`table`](super::table).

use super::table::{check, check_all};

#[test]
fn counters_begin_at_zero() {
    check(
        "first cycle: fork(1,2) write(2,1000) cycle => 0
         write(2,5) fork(2,3) write(3,7) cycle => 12
         exit(3) wait(2) cycle*2 => 12",
    );
}

/// The parent has the past of its child too, after it has waited for that. A sum grew by the
/// gigabytes that a process did before the collector was restarted.
#[test]
fn inherited_past_does_not_count() {
    // Of the same image, of another one, or of none.
    for images in ["a", "b", "-"] {
        check(&format!(
            "first cycle: fork(1,2) fork(2,3,{images}) write(3,1000) cycle => 0
             write(2,1) cycle => 1
             write(3,10) exit(3) wait(2) cycle*3 => 11"
        ));
    }
}

/// Through a process of no image, old or as old as the collector.
#[test]
fn past_is_passed_on() {
    check(
        "first cycle: fork(1,2) fork(2,3,-) fork(3,4,-) write(4,1000) write(3,100) cycle => 0
         exit(4) wait(3) cycle*2 => 0
         exit(3) wait(2) cycle*2 => 0",
    );
    check(
        "first cycle: fork(1,2,a,subreaper) fork(2,3) fork(3,4) write(4,1000) cycle => 0
         exit(3) wait(2) cycle => 0
         exit(4) wait(2) cycle*3 => 0",
    );
}

/// It exits at any moment of the first cycles.
#[test]
fn past_of_exit_at_any_read() {
    for images in ["a", "b", "-"] {
        check_all(
            (50, 0),
            &format!(
                "first cycle: fork(1,2) fork(2,3,{images}) write(2,50) write(3,1000)
                 @$i exit(3) @0 wait(2) cycle*3 => 0
                 write(2,1) cycle => 1"
            ),
        );
    }
}

/// A process that joins an image later: what the processes below it did before the first cycle
/// is read before itself.
#[test]
fn past_below_a_later_member() {
    check_all(
        (50, 0),
        "first cycle: fork(1,2,-) fork(2,3,-) write(3,1000) cycle*3 => 0
         exec(2,a) @$i exit(3) @0 wait(2) cycle*4 => 0",
    );
}

/// Its command line could not be read for some cycles.
#[test]
fn unclassified_process_has_a_past() {
    check(
        "first cycle: fork(1,2) block(2) write(2,1000) cycle*2 => 0
         unblock(2) cycle*2 => 0
         write(2,5) cycle => 5",
    );
}

/// An unreadable process counts from its first reading.
#[test]
fn unreadable_past() {
    check(
        "first cycle: fork(1,2) fork(2,3) write(2,1000) write(3,100) hide(2) cycle => 0
         exit(3) wait(2) cycle => 0
         show(2) cycle => 0
         write(2,5) cycle => 5",
    );
}

/// A parent without an image, whose first reading has the child: what that did was excluded again.
/// The image fell when it had the parent, or missed what the next parent did.
#[test]
fn past_in_a_first_reading_is_excluded_once() {
    check_all(
        (40, 0),
        "first cycle: fork(1,2,-) block(2) fork(2,3) write(3,1000)
         @$i exit(3) @0 wait(2) cycle => 0
         exec(2,a) unblock(2) cycle*2 => 0
         write(2,1) cycle => 1",
    );
    check_all(
        (40, 0),
        "first cycle: fork(1,2) fork(2,3,-) fork(3,4) write(4,1000)
         @$i exit(4) @0 wait(3) cycle*2 => 0
         write(2,5000) exit(3) wait(2) cycle*3 => 5000",
    );
}

/// The process that has its pid is another one, with another parent: its own parent has its past.
#[test]
fn past_of_exited_process_with_a_reused_pid() {
    check_all(
        (60, 0),
        "first cycle: fork(1,2,-) fork(2,3) fork(3,4,-) write(4,1000) exit(4)
         @$i wait(3) @0 exit(3) @0 fork(1,5,-,reuse) cycle*4 => 0",
    );
}
