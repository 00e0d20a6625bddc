//! The owners of sockets, over the model kernel.

use psstat_proc_parse::net::snmp::TcpCounters;

use super::kernel::{Action, INIT, Id, Images, Kernel, Limits};
use super::model::Model;
use super::world::Abilities;
use crate::state::schedule::TCP_WALK_INTERVAL;

const A: Images = 1;
const B: Images = 2;

/// A process of these images, a child of init, that holds these sockets.
fn fork(kernel: &mut Kernel, images: Images, sockets: &[u32]) -> Id {
    let (parent, ignores, subreaper, reuses_pid) = (INIT, false, false, false);
    kernel.perform(&Action::Fork { parent, images, ignores, subreaper, reuses_pid });
    let id = kernel.processes.len() - 1;
    kernel.set_sockets(id, sockets);
    id
}

fn model() -> Model {
    let abilities = Abilities {
        handles: true,
        cpu_clock: true,
        partial_listing: true,
        tick: 0,
        late_clock: false,
    };
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
    model.world.kernel.set_sockets(id, &[20]);
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

/// The counters of the model kernel, with this number of segments.
fn count(model: &mut Model, in_segs: u64) {
    let kernel = &mut model.world.kernel;
    let mut tcp = TcpCounters::default();
    let established = kernel.established.as_ref().map_or(0, |table| table.len() as u64);
    tcp.curr_estab = established + kernel.unaccepted + kernel.close_wait;
    tcp.in_segs = in_segs;
    kernel.tcp = Some(tcp);
}

/// A cycle: the number of image A, and how often the table was walked.
fn walked(model: &mut Model) -> (Option<u64>, u32) {
    model.world.kernel.tcp_walks = 0;
    (tcp(model)[0], model.world.kernel.tcp_walks)
}

#[test]
fn table_is_walked_when_counters_change() {
    let mut model = model();
    let id = fork(&mut model.world.kernel, A, &[10, 11]);
    establish(&mut model, &[10, 99]);
    count(&mut model, 7);
    assert_eq!(walked(&mut model), (Some(1), 1));
    for _ in 0..5 {
        assert_eq!(walked(&mut model), (Some(1), 0));
    }
    // Another one of its sockets replaces the first one: a segment was received.
    establish(&mut model, &[11, 99]);
    count(&mut model, 8);
    assert_eq!(walked(&mut model).0, Some(1));
    // A socket of the table that no process held has an owner now, besides another one.
    model.world.kernel.set_sockets(id, &[11, 12, 99]);
    assert_eq!(walked(&mut model), (Some(2), 0));
    // Segments without a change of state.
    count(&mut model, 9);
    assert_eq!(walked(&mut model), (Some(2), 1));
    // The first socket is closed by its peer, and stays in CLOSE_WAIT.
    establish(&mut model, &[99]);
    model.world.kernel.close_wait = 1;
    count(&mut model, 10);
    assert_eq!(walked(&mut model).0, Some(1));
    assert_eq!(walked(&mut model), (Some(1), 0));
    // No socket is left. The one that was ESTABLISHED is still held, so the counter is not
    // trusted in the first cycle.
    establish(&mut model, &[]);
    model.world.kernel.close_wait = 0;
    count(&mut model, 11);
    assert_eq!(walked(&mut model), (Some(0), 1));
    for segments in 12..20 {
        count(&mut model, segments);
        assert_eq!(walked(&mut model), (Some(0), 0));
    }
}

/// accept(2) gives a socket its inode, and sends nothing.
#[test]
fn table_with_unaccepted_socket_is_walked() {
    let mut model = model();
    fork(&mut model.world.kernel, A, &[10, 11]);
    establish(&mut model, &[10]);
    model.world.kernel.unaccepted = 1;
    count(&mut model, 7);
    assert_eq!(walked(&mut model), (Some(1), 1));
    assert_eq!(walked(&mut model), (Some(1), 1));
    establish(&mut model, &[10, 11]);
    model.world.kernel.unaccepted = 0;
    assert_eq!(walked(&mut model), (Some(2), 1));
    assert_eq!(walked(&mut model), (Some(2), 0));
}

/// Sockets that the kernel does not count: on old kernels, or with an offload of TCP.
#[test]
fn wrong_counters_are_noticed_within_interval() {
    let mut model = model();
    fork(&mut model.world.kernel, A, &[10, 11]);
    establish(&mut model, &[]);
    count(&mut model, 7);
    assert_eq!(walked(&mut model), (Some(0), 1));
    establish(&mut model, &[10]);
    let cycles: Vec<_> = (0..TCP_WALK_INTERVAL).map(|_| walked(&mut model)).collect();
    let noticed = cycles.iter().position(|&cycle| cycle != (Some(0), 0)).unwrap();
    assert!(cycles[noticed..].iter().all(|&cycle| cycle == (Some(1), 1)), "{cycles:?}");
    // From now on the counters are not used, until they are right.
    model.world.kernel.close_wait = 1;
    establish(&mut model, &[]);
    assert_eq!(walked(&mut model), (Some(0), 1));
    establish(&mut model, &[11]);
    assert_eq!(walked(&mut model), (Some(1), 1));
    model.world.kernel.close_wait = 0;
    assert_eq!(walked(&mut model), (Some(1), 1));
    count(&mut model, 7);
    assert_eq!(walked(&mut model), (Some(1), 1));
    assert_eq!(walked(&mut model), (Some(1), 0));
    // Nor if they are higher.
    count(&mut model, 8);
    model.world.kernel.tcp.as_mut().unwrap().curr_estab = 2;
    assert_eq!(walked(&mut model), (Some(1), 1));
    assert_eq!(walked(&mut model), (Some(1), 1));
}

/// A namespace ends with its last process, and another one can have its inode and even the
/// same counters.
#[test]
fn next_namespace_with_same_inode_is_walked() {
    let mut model = model();
    let first = fork(&mut model.world.kernel, A, &[10]);
    establish(&mut model, &[10]);
    count(&mut model, 7);
    assert_eq!(walked(&mut model), (Some(1), 1));
    model.world.kernel.perform(&Action::Exit { id: first });
    fork(&mut model.world.kernel, A, &[20, 21]);
    establish(&mut model, &[20]);
    assert_eq!(walked(&mut model), (Some(1), 1));
    assert_eq!(walked(&mut model), (Some(1), 0));
}

/// Without the counters, as on a kernel that does not have them.
#[test]
fn table_is_walked_in_every_cycle_without_counters() {
    let mut model = model();
    fork(&mut model.world.kernel, A, &[10]);
    establish(&mut model, &[10]);
    for _ in 0..3 {
        assert_eq!(walked(&mut model), (Some(1), 1));
    }
}
