//! The owners of sockets, over the model kernel.

use super::kernel::{Action, INIT, Id, Images, Kernel, Limits};
use super::model::Model;
use super::world::Abilities;

const A: Images = 1;
const B: Images = 2;

/// A process of these images, a child of init, that holds these sockets.
fn fork(kernel: &mut Kernel, images: Images, sockets: &[u32]) -> Id {
    let (parent, ignores, subreaper, reuses_pid) = (INIT, false, false, false);
    kernel.perform(&Action::Fork { parent, images, ignores, subreaper, reuses_pid });
    let id = kernel.processes.len() - 1;
    kernel.processes[id].sockets = sockets.to_vec();
    id
}

fn model() -> Model {
    let abilities = Abilities { handles: true, cpu_clock: true, partial_listing: true };
    Model::new(Limits::default(), abilities, false, Vec::new())
}

fn establish(model: &mut Model, sockets: &[u32]) {
    model.world.kernel.established = Some(sockets.iter().copied().collect());
}

/// The numbers of images A and B after one more cycle.
fn tcp(model: &mut Model) -> [Option<u64>; 2] {
    model.cycle().unwrap();
    [model.tcp(0), model.tcp(1)]
}

#[test]
fn shared_socket_counts_once_per_image() {
    let mut model = model();
    let first = fork(&mut model.world.kernel, A, &[10, 11]);
    fork(&mut model.world.kernel, A, &[11, 12]);
    fork(&mut model.world.kernel, A | B, &[12]);
    establish(&mut model, &[10, 11, 12, 99]);
    assert_eq!(tcp(&mut model), [Some(3), Some(1)]);
    // The others still hold the sockets of a process that has exited, except one.
    model.world.kernel.perform(&Action::Exit { id: first });
    establish(&mut model, &[11, 12, 99]);
    assert_eq!(tcp(&mut model), [Some(2), Some(1)]);
    establish(&mut model, &[99]);
    assert_eq!(tcp(&mut model), [Some(0), Some(0)]);
}

/// A socket takes the descriptor of another one, and the number of descriptors is the same: the
/// owner of the missing one is scanned, in the same cycle.
#[test]
fn replaced_socket_is_found() {
    let mut model = model();
    let id = fork(&mut model.world.kernel, A, &[10]);
    establish(&mut model, &[10]);
    assert_eq!(tcp(&mut model), [Some(1), Some(0)]);
    model.world.kernel.processes[id].sockets = vec![20];
    establish(&mut model, &[20]);
    assert_eq!(tcp(&mut model), [Some(1), Some(0)]);
}

#[test]
fn process_takes_its_sockets_to_another_image() {
    let mut model = model();
    let id = fork(&mut model.world.kernel, A, &[10]);
    fork(&mut model.world.kernel, B, &[10]);
    establish(&mut model, &[10]);
    assert_eq!(tcp(&mut model), [Some(1), Some(1)]);
    model.world.kernel.perform(&Action::Move { id, images: B, exec: true });
    assert_eq!(tcp(&mut model), [Some(0), Some(1)]);
}

/// A table that cannot be read gives no number, not even the last one.
#[test]
fn unread_table_gives_no_number() {
    let mut model = model();
    fork(&mut model.world.kernel, A, &[10]);
    fork(&mut model.world.kernel, B, &[]);
    establish(&mut model, &[10]);
    assert_eq!(tcp(&mut model), [Some(1), Some(0)]);
    model.world.kernel.established = None;
    // A process without sockets has none, whatever the table contains.
    assert_eq!(tcp(&mut model), [None, Some(0)]);
    establish(&mut model, &[10]);
    assert_eq!(tcp(&mut model), [Some(1), Some(0)]);
}
