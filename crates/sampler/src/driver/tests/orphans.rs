//! One small history for each rule about processes whose parents exit first; see
//! [`table`](super::table).

use super::kernel::{Action, INIT, Limits};
use super::model::Model;
use super::table::{check, check_all};
use super::world::Abilities;

#[test]
fn orphan_adopted_by_grandparent() {
    check(
        "fork(1,2,a,subreaper) fork(2,3) fork(3,4) write(4,100) cycle => 100
         exit(3) wait(2) exit(4) wait(2) cycle*2 => 100",
    );
}

/// The parent has exited and is still listed, because no process waits for it. The io that
/// its orphan left to the adopter was taken for lost, and counted twice.
#[test]
fn orphan_of_zombie() {
    for images in ["a", "-"] {
        check(&format!(
            "fork(1,2,a,subreaper) fork(2,3,-) fork(3,4,{images}) fork(4,5) write(5,100)
             cycle => 100
             exit(4) exit(5) wait(2) cycle*2 => 100"
        ));
    }
}

/// The same between two reads of one cycle: the adopter was read after it had waited for a
/// process that was not its child when the tree was built.
#[test]
fn adoption_at_any_read() {
    for wait in ["", "@0 wait(3)"] {
        check_all(
            (40, 0),
            &format!(
                "fork(1,2,a,subreaper) fork(2,3,-) fork(3,4) fork(4,5) write(5,100)
                 cycle => 100
                 @$i exit(4) {wait} @0 exit(5) @0 wait(2) cycle*3 => 100"
            ),
        );
    }
}

/// Its parent had exited, and it exited itself before its new parent was read: no process
/// was taken for the inheritor, and the orphan counted again in the real one.
#[test]
fn orphan_exits_before_new_parent_is_read() {
    check_all(
        (24, 24),
        "fork(1,2,a,subreaper) fork(2,3) fork(3,4) write(4,100) cycle => 100
         exit(3) @$i wait(2) @$j exit(4) @0 wait(2) cycle*5 => 100",
    );
}

/// The adopter waited for an orphan, and then for its parent, a zombie until then: the io
/// of the orphan is not in the parent, nor in any process that inherits from the parent.
#[test]
fn orphan_reaped_before_its_parent() {
    for images in ["-", "a", "b"] {
        check_all(
            (20, 20),
            &format!(
                "fork(1,2,a,subreaper) fork(2,3,{images}) fork(3,4) write(4,100) cycle => 100
                 exit(3) @$i exit(4) @0 wait(2,4) @$j wait(2) cycle*5 => 100"
            ),
        );
    }
}

/// The adopter exited too: an exited ancestor above others that had not.
#[test]
fn adopter_exits() {
    check_all(
        (20, 20),
        "fork(1,2,a,subreaper) fork(2,3) fork(3,4) fork(4,5) write(5,100) cycle => 100
         exit(4) @$i exit(5) @0 wait(2) @$j exit(2) cycle*5 => 100",
    );
}

/// Its parent belongs to the image, waited for another child and exited, but could not be
/// read: the adopter may have the orphan's io.
#[test]
fn orphan_of_unreadable_parent() {
    check_all(
        (40, 0),
        "fork(1,2,a,subreaper) fork(2,3) fork(3,4,-) fork(3,5) hide(3) write(5,100) exit(4)
         @$i wait(3) @0 exit(3) @0 exit(5) @0 wait(2,5) cycle*5 => <=100",
    );
}

/// The kernel gives the orphans of a zombie another parent before the zombie is waited for.
#[test]
fn parent_of_orphan_is_read_again() {
    let limits = Limits { orphans: true, ..Limits::default() };
    let abilities = Abilities {
        handles: true,
        cpu_clock: true,
        partial_listing: true,
        tick: 0,
        late_clock: false,
    };
    let mut model = Model::new(limits, abilities, false, Vec::new());
    for parent in [INIT, 1, 2] {
        let (images, reuses_pid) = (1, false);
        let fork = Action::Fork { parent, images, ignores: false, subreaper: false, reuses_pid };
        model.world.kernel.perform(&fork);
    }
    model.cycle().unwrap();
    let pid = |id: usize, model: &Model| model.world.kernel.processes[id].pid;
    assert_eq!(model.ppid(pid(3, &model)), Some(pid(2, &model)));
    model.world.kernel.perform(&Action::Exit { id: 2 });
    for _ in 0..2 {
        model.cycle().unwrap();
    }
    assert_eq!(model.ppid(pid(3, &model)), Some(pid(INIT, &model)));
}
