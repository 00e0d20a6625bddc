//! Processes that belong to thousands of images, over a procfs of plain files.

mod common;

use common::captured_proc::{add_sockets, sampler, set_netns, write_process, write_tables};
use psstat_testproc::TempDir;
use psstat_testproc::alloc::{CountingAllocator, Usage, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const PROCESSES: u32 = 3;
const SOCKETS: u32 = 4;

/// The first cycles with every process in this number of images, and one in which they leave
/// every second image.
fn classify_all(images: u32) -> Usage {
    let proc = TempDir::in_memory().unwrap();
    for pid in 100..100 + PROCESSES {
        let dir = write_process(proc.path(), pid, 5000, 7);
        // The processes share their sockets.
        add_sockets(&dir, 1..1 + SOCKETS);
        set_netns(&dir, "net:[1]");
        write_tables(&dir, 1..1 + SOCKETS);
    }
    let mut sampler = sampler(proc.path()).into_inner();
    // Their names are not measured.
    let ids: Vec<_> = (0..images).map(|number| sampler.add_image(&number.to_string())).collect();
    let (_, used) = measure(|| {
        for step in [1, 1, 2] {
            sampler.reclassify_all();
            let window = sampler.open_with(|_, set| {
                ids.iter().step_by(step).for_each(|id| assert!(set.add_id(*id)));
            });
            let sample = window.close();
            for (image, id) in ids.iter().enumerate() {
                let usage = sample.image_by_id(*id).unwrap();
                let is_member = image.is_multiple_of(step);
                let expected = if is_member { (PROCESSES, SOCKETS) } else { (0, 0) };
                assert_eq!(
                    (usage.processes, usage.tcp),
                    (u64::from(expected.0), Some(u64::from(expected.1))),
                    "image {image}"
                );
                assert_eq!(usage.io.unwrap().rchar, 7 * i64::from(PROCESSES));
            }
        }
    });
    used
}

/// Each image of a process moved all its others to new memory, and was compared with them: 10,000
/// images of 1,000 processes took 40 s.
#[test]
fn images_of_a_process_are_added_at_once() {
    let (few, many) = (classify_all(500), classify_all(8_000));
    println!("{few:?} for 500 images, {many:?} for 8,000");
    // Only lists that grow by doubling allocate more often for more images.
    assert!(many.allocations < few.allocations + 100, "{few:?} {many:?}");
    let per_membership = many.peak / (8_000 * PROCESSES as usize);
    assert!(per_membership < 190, "{per_membership} bytes for each image of each process");
}
