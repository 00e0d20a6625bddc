//! What the kernel sends is read by place and length; here anything is sent.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Kind, flags, sequence, body of each message that is whole.
type Read = (u16, u16, u32, Vec<u8>);

fn read(mut rest: &[u8]) -> Vec<Read> {
    let mut all = Vec::new();
    while let Some(message) = Message::first(rest) {
        assert!(message.space >= HEADER, "the next one begins further on");
        rest = rest.get(message.space..).unwrap_or_default();
        all.push((message.kind, message.flags, message.sequence, message.body.to_vec()));
    }
    all
}

/// As `linux/netlink.h` has it, with nothing left out: `NLMSG_OK`, `NLMSG_NEXT`.
fn read_slowly(bytes: &[u8]) -> Vec<Read> {
    let byte = |at: usize| bytes[at];
    let (mut all, mut at) = (Vec::new(), 0);
    while at + 16 <= bytes.len() {
        let short = |at: usize| u16::from_ne_bytes([byte(at), byte(at + 1)]);
        let long = |at| u32::from_ne_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
        let length = long(at) as usize;
        if length < 16 || length > bytes.len() - at {
            break;
        }
        let body = bytes[at + 16..at + length].to_vec();
        all.push((short(at + 4), short(at + 6), long(at + 8), body));
        at += length.next_multiple_of(4);
    }
    all
}

fn written(messages: &[Read]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, flags, sequence, body) in messages {
        bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn messages() -> impl Strategy<Value = Vec<Read>> {
    vec((any::<u16>(), any::<u16>(), any::<u32>(), vec(any::<u8>(), 0..100)), 0..5)
}

/// Rows of all kinds, and the status, of any body.
fn look_at(message: &Message<'_>) {
    let _ = message.status();
    for request in [Request::Tcp, Request::Udp(AddressFamily::INET6), Request::Unix] {
        assert_ne!(message.inode(request), Some(0));
    }
}

proptest! {
    #[test]
    fn what_was_sent_is_read(messages in messages()) {
        prop_assert_eq!(read(&written(&messages)), messages);
    }

    /// Cut off, with other bytes in it, or of nothing but those.
    #[test]
    fn anything_is_read_as_by_the_letter(
        messages in messages(),
        cut in any::<prop::sample::Index>(),
        others in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        more in vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = written(&messages);
        bytes.truncate(cut.index(bytes.len() + 1));
        bytes.extend(more);
        for (at, byte) in others {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        prop_assert_eq!(read(&bytes), read_slowly(&bytes));
    }

    #[test]
    fn a_row_has_its_inode_where_the_kernel_puts_it(
        mut body in vec(any::<u8>(), 0..90),
        inode in any::<u32>(),
    ) {
        for (request, at) in
            [(Request::Tcp, 68), (Request::Udp(AddressFamily::INET), 68), (Request::Unix, 4)]
        {
            let there = body.get_mut(at..at + 4);
            let expected = there.map(|place| {
                place.copy_from_slice(&inode.to_ne_bytes());
                u64::from(inode)
            });
            let bytes = written(&[(20, 2, 1, body.clone())]);
            let message = Message::first(&bytes).unwrap();
            look_at(&message);
            prop_assert_eq!(message.inode(request), expected.filter(|&inode| inode != 0));
        }
    }

    /// Numbers of no error were taken for one: an overflow of the least, and a
    /// failed assertion of rustix's for the others.
    #[test]
    fn an_answer_ends_with_an_error_or_none(
        status in prop_oneof![any::<i32>(), -4096..4096, Just(i32::MIN)],
        rest in vec(any::<u8>(), 0..9),
    ) {
        let body = [&status.to_ne_bytes()[..], &rest].concat();
        let bytes = written(&[(NLMSG_DONE, 0, 1, body)]);
        let said = Message::first(&bytes).unwrap().status();
        // The numbers that the kernel has for errors.
        if (-4095..0).contains(&status) {
            prop_assert_eq!(said, Err(Errno::from_raw_os_error(-status)));
        } else {
            prop_assert_eq!(said, if status < 0 { Err(Errno::PROTO) } else { Ok(()) });
        }
    }
}
