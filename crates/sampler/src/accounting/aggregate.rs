//! Sums by image.

use crate::image::ImageId;
use crate::io_counters::IoCounters;
use crate::numbers::Numbers;
use crate::sockets::SocketCounts;

/// What one process adds to its images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contribution<'a> {
    pub(crate) images: &'a [ImageId],
    /// Its readings. Of `io` and the numbers of sockets only whether they could be read
    /// counts: their sums are given.
    pub(crate) numbers: Numbers,
}

/// Sums the contributions by image into `sums`. `io` and `sockets` have the totals of
/// every image, in the order of their numbers.
pub(crate) fn sum<'a>(
    sums: &mut Vec<Numbers>,
    processes: impl Iterator<Item = Contribution<'a>>,
    io: &[Option<IoCounters>],
    sockets: &[SocketCounts],
) {
    sums.clear();
    sums.resize(io.len(), Numbers::default());
    for process in processes {
        for image in process.images {
            if let Some(sum) = sums.get_mut(image.index()) {
                sum.add(&process.numbers);
            }
        }
    }
    for ((sum, io), [tcp, udp, unix]) in sums.iter_mut().zip(io).zip(sockets) {
        if sum.procs == 0 {
            *sum = Numbers::ZERO;
        }
        sum.io = io.or(sum.io);
        sum.tcp = sum.tcp.map(|_| *tcp);
        sum.udp = sum.udp.map(|_| *udp);
        sum.unix = sum.unix.map(|_| *unix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ImageId = ImageId(0);
    const B: ImageId = ImageId(1);

    fn reading(fds: Option<u64>) -> Numbers {
        let io = Some(IoCounters::ZERO);
        Numbers { procs: 1, io, tcp: Some(0), descriptors: fds, ..Numbers::default() }
    }

    #[test]
    fn sums_what_could_be_read() {
        let processes = [
            (&[A][..], reading(Some(3))),
            (&[A, B], reading(None)),
            (&[A], Numbers { io: None, tcp: None, ..reading(Some(4)) }),
        ];
        let processes = processes.map(|(images, numbers)| Contribution { images, numbers });
        let io = [Some(IoCounters { rchar: 7, ..IoCounters::ZERO }), None, None];
        let mut sums = vec![Numbers::ZERO; 9];
        sum(&mut sums, processes.into_iter(), &io, &[[5, 6, 7], [1, 1, 1], [0; 3]]);
        assert_eq!(sums.len(), 3);
        assert_eq!((sums[0].procs, sums[0].descriptors, sums[0].io), (3, Some(7), io[0]));
        // Only the table of tcp could be read of some process.
        assert_eq!((sums[0].tcp, sums[0].udp, sums[0].unix), (Some(5), None, None));
        assert_eq!((sums[1].procs, sums[1].descriptors, sums[1].tcp), (1, None, Some(1)));
        assert_eq!(sums[1].io, Some(IoCounters::ZERO));
        assert_eq!(sums[2], Numbers::ZERO);
    }
}
