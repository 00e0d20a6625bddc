//! The statements of docs/metrics.md about what the kernel counts, each tried on a thread
//! that does one thing while its own `/proc/PID/task/TID/io` is read from outside.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::mpsc::channel;

use psstat_proc_parse::Io;
use psstat_proc_parse::net::unix::{self, UnixState};
use psstat_testproc::TempDir;
use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::pipe::{SpliceFlags, pipe};

const SIZE: usize = 300_000;

/// The counters that `action` adds to those of a thread.
fn counted(action: impl FnOnce() + Send) -> Io {
    std::thread::scope(|scope| {
        let (ready, is_ready) = channel();
        let (go, may_go) = channel();
        let (finished, is_finished) = channel();
        let (end, may_end) = channel::<()>();
        scope.spawn(move || {
            ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            may_go.recv().unwrap();
            action();
            finished.send(()).unwrap();
            let _ = may_end.recv();
        });
        let tid = is_ready.recv().unwrap();
        let path = format!("/proc/self/task/{tid}/io");
        let read = || {
            let text = fs::read(&path).unwrap();
            Io::parse(&text).unwrap()
        };
        let before = read();
        go.send(()).unwrap();
        is_finished.recv().unwrap();
        let mut io = read();
        drop(end);
        io.rchar -= before.rchar;
        io.wchar -= before.wchar;
        io.syscr -= before.syscr;
        io.syscw -= before.syscw;
        io.read_bytes -= before.read_bytes;
        io.write_bytes -= before.write_bytes;
        io.cancelled_write_bytes -= before.cancelled_write_bytes;
        io
    })
}

/// Checks `rchar`, `wchar`, `syscr` and `syscw` of an action.
#[track_caller]
fn check(what: &str, expected: [usize; 4], action: impl FnOnce() + Send) {
    let io = counted(action);
    let found = [io.rchar, io.wchar, io.syscr, io.syscw];
    assert_eq!(found, expected.map(|value| value as u64), "{what}");
}

/// A file in memory.
fn memory_file(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("counts", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// A file on disk, and its directory.
fn disk_file() -> (TempDir, File) {
    let dir = TempDir::new().unwrap();
    let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
    let file = options.open(dir.path().join("file")).unwrap();
    (dir, file)
}

/// Whether a file system writes through the page cache to a disk, as ext4, xfs and btrfs do;
/// an overlay or a file system in memory does not show the counters of the storage layer.
fn is_on_disk(file: &File) -> bool {
    const DISKS: [i64; 3] = [0xEF53, 0x5846_5342, 0x9123_683E];
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs by architecture")]
    let magic = rustix::fs::fstatfs(file).unwrap().f_type as i64;
    DISKS.contains(&magic)
}

#[test]
fn read_and_write_count_bytes_and_calls() {
    let mut file = memory_file(&[1; SIZE]);
    let mut buffer = vec![0; SIZE];
    check("read", [SIZE, 0, 1, 0], || file.read_exact(&mut buffer).unwrap());
    check("read at the end", [0, 0, 1, 0], || assert_eq!(file.read(&mut [0; 9]).unwrap(), 0));
    check("write", [0, 100, 0, 1], || file.write_all(&[2; 100]).unwrap());
    check("pread", [50, 0, 1, 0], || {
        assert_eq!(rustix::io::pread(&file, &mut [0; 50], 0).unwrap(), 50);
    });
    check("pwritev2", [0, 7, 0, 1], || {
        let parts = [std::io::IoSlice::new(b"abc"), std::io::IoSlice::new(b"defg")];
        rustix::io::pwritev2(&file, &parts, 0, ReadWriteFlags::empty()).unwrap();
    });
}

#[test]
fn failed_calls_are_counted() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    check("EAGAIN", [0, 0, 1, 0], || {
        assert_eq!(rustix::io::read(&reader, &mut [0; 9]).unwrap_err(), Errno::AGAIN);
    });
    drop(reader);
    check("EPIPE", [0, 0, 0, 1], || {
        assert_eq!(rustix::io::write(&writer, b"x").unwrap_err(), Errno::PIPE);
    });
    // The descriptor is not open for reading: EBADF is found before the call is counted.
    check("EBADF", [0, 0, 0, 0], || {
        assert_eq!(rustix::io::read(&writer, &mut [0; 9]).unwrap_err(), Errno::BADF);
    });
}

#[test]
fn sockets_count_by_read_and_write_but_not_by_send_and_recv() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    check("write", [0, 500, 0, 1], || {
        rustix::io::write(&client, &[1; 500]).unwrap();
    });
    check("read", [500, 0, 1, 0], || {
        let mut buffer = [0; 500];
        rustix::io::read(&server, &mut buffer).unwrap();
    });
    check("send", [0, 0, 0, 0], || {
        let flags = rustix::net::SendFlags::empty();
        assert_eq!(rustix::net::send(&client, &[1; 500], flags).unwrap(), 500);
    });
    check("recv", [0, 0, 0, 0], || {
        let flags = rustix::net::RecvFlags::WAITALL;
        rustix::net::recv(&server, &mut [0; 500], flags).unwrap();
    });
}

#[test]
fn copies_within_the_kernel() {
    let (from, to) = (memory_file(&[1; SIZE]), memory_file(b""));
    check("sendfile", [SIZE, SIZE, 1, 1], || {
        assert_eq!(rustix::fs::sendfile(&to, &from, None, SIZE).unwrap(), SIZE);
    });
    let (dir, on_disk) = disk_file();
    (&on_disk).write_all(&[1; SIZE]).unwrap();
    let target = File::create(dir.path().join("copy")).unwrap();
    if is_on_disk(&on_disk) {
        // 2 calls and twice the bytes on overlayfs.
        check("copy_file_range", [SIZE, SIZE, 1, 1], || {
            let mut offset = 0;
            let copied =
                rustix::fs::copy_file_range(&on_disk, Some(&mut offset), &target, None, SIZE);
            assert_eq!(copied.unwrap(), SIZE);
        });
    }
    let (reader, writer) = pipe().unwrap();
    (&from).seek(SeekFrom::Start(0)).unwrap();
    check("splice", [0, 0, 0, 0], || {
        let none = SpliceFlags::empty();
        let moved = rustix::pipe::splice(&from, None, &writer, None, 4_096, none).unwrap();
        assert_eq!(moved, 4_096);
    });
    let (_reader, other) = pipe().unwrap();
    check("tee", [0, 0, 0, 0], || {
        assert_eq!(rustix::pipe::tee(&reader, &other, 4_096, SpliceFlags::empty()).unwrap(), 4_096);
    });
}

#[test]
fn memory_files_reach_no_storage() {
    let io = counted(|| drop(memory_file(&[1; SIZE])));
    assert_eq!((io.wchar, io.write_bytes, io.read_bytes), (SIZE as u64, 0, 0));
}

/// `write_bytes` counts when a page becomes dirty: not again while it is dirty.
#[test]
fn write_bytes_counts_pages_that_become_dirty() {
    let (_dir, file) = disk_file();
    if !is_on_disk(&file) {
        return println!("skipped: no disk file system for temporary files");
    }
    let first = counted(|| rustix::io::pwrite(&file, &[1; 4_096], 0).map(drop).unwrap());
    assert_eq!(first.wchar, 4_096);
    // Whole folios: at least the page.
    assert!(first.write_bytes >= 4_096, "{first:?}");
    // Unless write-back came in between.
    let overwrites = || {
        let again = counted(|| rustix::io::pwrite(&file, &[2; 4_096], 0).map(drop).unwrap());
        assert_eq!(again.wchar, 4_096);
        again.write_bytes
    };
    assert!((0..20).any(|_| overwrites() == 0));
    // The one who syncs is not charged; the next write of the page counts again.
    let sync = counted(|| file.sync_all().unwrap());
    assert_eq!((sync.wchar, sync.syscw), (0, 0));
    assert!(sync.write_bytes < first.write_bytes.max(65_536), "{sync:?}");
    let third = counted(|| rustix::io::pwrite(&file, &[3; 4_096], 0).map(drop).unwrap());
    assert!(third.write_bytes >= 4_096, "{third:?}");
}

/// Each direct write counts, also of the same block. A block that the file system must allocate
/// first can add whole blocks of metadata.
#[test]
fn direct_writes_count_each_time() {
    let (dir, _) = disk_file();
    let path = dir.path().join("direct");
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::DIRECT;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let opened = rustix::fs::open(&path, flags, mode).map(File::from);
    let Ok(file) = opened else { return println!("skipped: no O_DIRECT here") };
    if !is_on_disk(&file) {
        return println!("skipped: no disk file system for temporary files");
    }
    // O_DIRECT wants an address that is aligned to blocks.
    let memory = vec![1_u8; 3 * 4_096];
    let start = memory.as_ptr().align_offset(4_096);
    for _ in 0..3 {
        let io =
            counted(|| rustix::io::pwrite(&file, &memory[start..][..4_096], 0).map(drop).unwrap());
        assert_eq!(io.wchar, 4_096);
        assert!((4_096..1 << 20).contains(&io.write_bytes), "{io:?}");
    }
}

/// It counts for the thread that truncates, not for the one that wrote, and only grows.
#[test]
fn cancelled_write_bytes_counts_for_the_one_that_truncates() {
    let (_dir, file) = disk_file();
    if !is_on_disk(&file) {
        return println!("skipped: no disk file system for temporary files");
    }
    // Write-back can be quicker than the truncation: try again.
    for _ in 0..20 {
        let written = counted(|| rustix::io::pwrite(&file, &vec![1; SIZE], 0).map(drop).unwrap());
        assert_eq!(written.cancelled_write_bytes, 0);
        let truncated = counted(|| file.set_len(0).unwrap());
        assert_eq!((truncated.wchar, truncated.syscw), (0, 0));
        assert!(truncated.cancelled_write_bytes >= 0, "{truncated:?}");
        if truncated.cancelled_write_bytes >= 4_096 {
            return;
        }
    }
    panic!("a truncation of dirty pages did not count");
}

/// The states of the unix sockets that are bound to `path`, or accepted from it.
fn unix_states(path: &std::path::Path) -> Vec<UnixState> {
    let table = fs::read("/proc/self/net/unix").unwrap();
    let path = path.as_os_str().as_encoded_bytes();
    let rows = unix::UnixRows::new(&table).map(Result::unwrap);
    rows.filter(|row| row.path == Some(path)).map(|row| row.state).collect()
}

#[test]
fn unix_socket_stays_connected_after_its_peer_closed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(listener);
    assert_eq!(unix_states(&path), [UnixState::Connected]);
    drop(client);
    assert_eq!(unix_states(&path), [UnixState::Connected]);
    drop(server);
    assert_eq!(unix_states(&path), []);
}

/// A datagram server counts as connected from its first client on, since Linux 5.15.
#[test]
fn unix_datagram_server_stays_connected() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("datagram");
    let server = UnixDatagram::bind(&path).unwrap();
    let before = unix_states(&path);
    let client = UnixDatagram::unbound().unwrap();
    client.connect(&path).unwrap();
    if unix_states(&path) == before {
        return println!("skipped: Linux before 5.15");
    }
    assert_eq!(unix_states(&path), [UnixState::Connected]);
    drop(client);
    assert_eq!(unix_states(&path), [UnixState::Connected]);
    drop(server);
}
