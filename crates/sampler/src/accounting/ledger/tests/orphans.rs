//! One small history for each rule about those whose parents end first.

use super::kernel::{Event, INIT, Images};
use super::rules::{A, NONE, observer};

const B: Images = 2;

#[test]
fn an_orphan_that_its_grandparent_adopted_counts_once() {
    let mut o = observer();
    let manager = o.world.kernel.fork(INIT, A, false, true);
    let between = o.fork(manager, A);
    let worker = o.fork(between, A);
    o.write(worker, 100);
    assert_eq!(o.bytes(), 100);
    o.exit_and_wait(between, manager);
    o.exit_and_wait(worker, manager);
    assert_eq!([o.bytes(), o.bytes()], [100; 2]);
}

/// The parent has ended and is still listed, since nobody waits for it: what its
/// orphan left to the adopter was taken for lost, and counted twice.
#[test]
fn an_orphan_of_a_zombie_counts_once() {
    for images in [A, NONE] {
        let mut o = observer();
        let manager = o.world.kernel.fork(INIT, A, false, true);
        let sleeper = o.fork(manager, NONE);
        let between = o.fork(sleeper, images);
        let worker = o.fork(between, A);
        o.write(worker, 100);
        assert_eq!(o.bytes(), 100);
        o.world.kernel.exit(between);
        o.exit_and_wait(worker, manager);
        assert_eq!([o.bytes(), o.bytes()], [100; 2], "{images}");
    }
}

/// The same between two looks of one cycle: the adopter was read after it had
/// waited for one that was not a child of its when the families were linked.
#[test]
fn an_orphan_counts_once_whenever_it_is_adopted() {
    for reaped in [false, true] {
        for looks in 0..20 {
            let mut o = observer();
            let manager = o.world.kernel.fork(INIT, A, false, true);
            let sleeper = o.fork(manager, NONE);
            let between = o.fork(sleeper, A);
            let worker = o.fork(between, A);
            o.write(worker, 100);
            assert_eq!(o.bytes(), 100);
            o.world.later(looks, Event::Exit { who: between });
            if reaped {
                // Among those that run then.
                o.world.later(0, Event::Wait { parent: sleeper, child: None });
            }
            o.world.later(0, Event::Exit { who: 3 });
            o.world.later(0, Event::Wait { parent: manager, child: None });
            for _ in 0..3 {
                assert_eq!(o.bytes(), 100, "after {looks} looks, {reaped}");
            }
        }
    }
}

/// Its parent had vanished, and it went itself before its new one was asked for:
/// nobody was taken for its heir, and it was counted again in who it was.
#[test]
fn an_orphan_counts_once_that_ends_before_its_new_parent_is_known() {
    for reaped in 0..20 {
        for looks in 0..20 {
            let mut o = observer();
            let manager = o.world.kernel.fork(INIT, A, false, true);
            let parent = o.fork(manager, A);
            let worker = o.fork(parent, A);
            o.write(worker, 100);
            assert_eq!(o.bytes(), 100);
            o.world.kernel.exit(parent);
            // Among those that run then.
            o.world.later(reaped, Event::Wait { parent: manager, child: None });
            o.world.later(looks, Event::Exit { who: 2 });
            o.world.later(0, Event::Wait { parent: manager, child: None });
            for _ in 0..5 {
                assert_eq!(o.bytes(), 100, "after {reaped} and {looks} looks");
            }
        }
    }
}

/// Each of these images with each two numbers of looks.
fn grid<const N: usize>(images: [Images; N]) -> impl Iterator<Item = (Images, u8, u8)> {
    let looks = (0..16).flat_map(|one| (0..16).map(move |other| (one, other)));
    looks.flat_map(move |(one, other)| images.map(|images| (images, one, other)))
}

/// An orphan was waited for by who adopted it, and then its parent, a zombie
/// until then: it is not to be looked for in the parent, nor in what comes after.
#[test]
fn an_orphan_counts_once_that_is_waited_for_before_its_parent() {
    for (images, ended, reaped) in grid([NONE, A, B]) {
        let mut o = observer();
        let manager = o.world.kernel.fork(INIT, A, false, true);
        let parent = o.fork(manager, images);
        let worker = o.fork(parent, A);
        o.write(worker, 100);
        assert_eq!(o.bytes(), 100);
        o.world.kernel.exit(parent);
        // Among those that run then, and of its zombies the second.
        o.world.later(ended, Event::Exit { who: 2 });
        o.world.later(0, Event::Wait { parent: manager, child: Some(1) });
        o.world.later(reaped, Event::Wait { parent: manager, child: None });
        for _ in 0..5 {
            assert_eq!(o.bytes(), 100, "{images}, after {ended} and {reaped} looks");
        }
    }
}

/// Who adopted it ended too: an ancestor that was gone itself, above others that
/// were not.
#[test]
fn an_orphan_counts_once_whose_adopter_ends() {
    for (_, ended, adopter) in grid([A]) {
        let mut o = observer();
        let manager = o.world.kernel.fork(INIT, A, false, true);
        let sleeper = o.fork(manager, A);
        let parent = o.fork(sleeper, A);
        let worker = o.fork(parent, A);
        o.write(worker, 100);
        assert_eq!(o.bytes(), 100);
        // Waited for by nobody.
        o.world.kernel.exit(parent);
        o.world.later(ended, Event::Exit { who: 3 });
        o.world.later(0, Event::Wait { parent: manager, child: None });
        o.world.later(adopter, Event::Exit { who: manager });
        for _ in 0..5 {
            assert_eq!(o.bytes(), 100, "after {ended} and {adopter} looks");
        }
    }
}

/// Its parent is of the image, waited for another and ended, but could not be
/// read: who adopted it may have it all the same.
#[test]
fn an_orphan_of_one_that_cannot_be_read_does_not_count_twice() {
    for looks in 0..20 {
        let mut o = observer();
        let manager = o.world.kernel.fork(INIT, A, false, true);
        let parent = o.fork(manager, A);
        let other = o.fork(parent, NONE);
        let worker = o.fork(parent, A);
        o.world.kernel.hide(parent, true);
        o.write(worker, 100);
        o.world.kernel.exit(other);
        o.world.later(looks, Event::Wait { parent, child: None });
        o.world.later(0, Event::Exit { who: parent });
        o.world.later(0, Event::Exit { who: 2 });
        o.world.later(0, Event::Wait { parent: manager, child: Some(1) });
        let mut before = 0;
        for _ in 0..5 {
            let now = o.bytes();
            assert!((before..=100).contains(&now), "{now} after {looks} looks");
            before = now;
        }
    }
}
