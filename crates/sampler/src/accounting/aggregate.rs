//! Sums by image.

use crate::cpu_time::CpuTime;
use crate::ids::SocketCounts;
use crate::image::ImageIndex;
use crate::io_counters::IoCounters;
use crate::usage::Usage;

/// Sums the contributions of processes, given with their images, into `sums`. `contribute` writes
/// the readings of a process. For `io`, `cpu` and the numbers of sockets only the fact counts that
/// they could be read: `io`, `cpu` and `sockets` have the totals of every image, in the order of
/// their numbers.
pub(crate) fn sum<'a, P>(
    sums: &mut Vec<Usage>,
    processes: impl Iterator<Item = (&'a [ImageIndex], P)>,
    contribute: impl Fn(P, &mut Usage),
    (io, cpu): (&[Option<IoCounters>], &[Option<CpuTime>]),
    sockets: &[SocketCounts],
) {
    sums.clear();
    sums.resize(io.len(), Usage::default());
    // One for all processes: it is large, and most of it is always `None`.
    let mut usage = Usage::default();
    for (images, process) in processes {
        contribute(process, &mut usage);
        for image in images {
            if let Some(sum) = sums.get_mut(image.index()) {
                sum.add(&usage);
            }
        }
    }
    for (((sum, io), cpu), [tcp, udp, unix]) in sums.iter_mut().zip(io).zip(cpu).zip(sockets) {
        if sum.processes == 0 {
            *sum = Usage::ZERO;
        }
        sum.io = io.or(sum.io);
        sum.cpu = cpu.or(sum.cpu);
        sum.tcp = sum.tcp.map(|_| *tcp);
        sum.udp = sum.udp.map(|_| *udp);
        sum.unix = sum.unix.map(|_| *unix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ImageIndex = ImageIndex(0);
    const B: ImageIndex = ImageIndex(1);

    fn reading(fds: Option<u64>) -> Usage {
        let io = Some(IoCounters::ZERO);
        let cpu = Some(CpuTime::ZERO);
        Usage { processes: 1, io, cpu, tcp: Some(0), fds, ..Usage::default() }
    }

    #[test]
    fn sums_what_could_be_read() {
        let processes = [
            (&[A][..], reading(Some(3))),
            (&[A, B], reading(None)),
            (&[A], Usage { io: None, cpu: None, tcp: None, ..reading(Some(4)) }),
        ];
        let io = [Some(IoCounters { rchar: 7, ..IoCounters::ZERO }), None, None];
        let mut sums = vec![Usage::ZERO; 9];
        let cpu = [Some(CpuTime { user: 8, system: 9 }), None, None];
        let contribute = |reading, usage: &mut Usage| *usage = reading;
        let sockets = [[5, 6, 7], [1, 1, 1], [0; 3]];
        sum(&mut sums, processes.into_iter(), contribute, (&io, &cpu), &sockets);
        assert_eq!((sums[0].cpu, sums[1].cpu), (cpu[0], Some(CpuTime::ZERO)));
        assert_eq!(sums.len(), 3);
        assert_eq!((sums[0].processes, sums[0].fds, sums[0].io), (3, Some(7), io[0]));
        // Only the table of tcp could be read of some process.
        assert_eq!((sums[0].tcp, sums[0].udp, sums[0].unix), (Some(5), None, None));
        assert_eq!((sums[1].processes, sums[1].fds, sums[1].tcp), (1, None, Some(1)));
        assert_eq!(sums[1].io, Some(IoCounters::ZERO));
        // Without io, a socket table, descriptors; memory and CPU time of none was read.
        let unread = |sum: &Usage| {
            let unread = sum.unread;
            [unread.io, unread.net, unread.fd, unread.mem, unread.cpu]
        };
        assert_eq!(unread(&sums[0]), [1, 3, 1, 3, 3]);
        assert_eq!(unread(&sums[1]), [0, 1, 1, 1, 1]);
        assert_eq!(sums[2], Usage::ZERO);
    }
}
