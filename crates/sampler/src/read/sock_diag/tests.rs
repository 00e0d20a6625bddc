//! The parser of netlink messages, on messages of any content.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Kind, flags, sequence and body of a complete message.
type Parsed = (u16, u16, u32, Vec<u8>);

fn parse(mut rest: &[u8]) -> Vec<Parsed> {
    let mut all = Vec::new();
    while let Some(message) = Message::first(rest) {
        assert!(message.padded_length >= HEADER, "no progress");
        rest = rest.get(message.padded_length..).unwrap_or_default();
        all.push((message.kind, message.flags, message.sequence, message.body.to_vec()));
    }
    all
}

/// By the macros `NLMSG_OK` and `NLMSG_NEXT` of `linux/netlink.h`.
fn parse_slow(bytes: &[u8]) -> Vec<Parsed> {
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

fn encode(messages: &[Parsed]) -> Vec<u8> {
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

fn messages() -> impl Strategy<Value = Vec<Parsed>> {
    vec((any::<u16>(), any::<u16>(), any::<u32>(), vec(any::<u8>(), 0..100)), 0..5)
}

/// Reads the status and the inode for every request.
fn read_fields(message: &Message<'_>) {
    let _ = message.status();
    for request in
        [Request::Tcp { states: OPEN }, Request::Udp(AddressFamily::INET6), Request::Unix]
    {
        let _ = (message.inode(request), message.is_close_wait(request));
    }
}

proptest! {
    #[test]
    fn messages_round_trip(messages in messages()) {
        prop_assert_eq!(parse(&encode(&messages)), messages);
    }

    /// Messages that are truncated, damaged, or random bytes.
    #[test]
    fn any_bytes_parse_as_by_the_macros(
        messages in messages(),
        cut in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        extra in vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = encode(&messages);
        bytes.truncate(cut.index(bytes.len() + 1));
        bytes.extend(extra);
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        prop_assert_eq!(parse(&bytes), parse_slow(&bytes));
    }

    #[test]
    fn inode_is_at_the_kernels_offset(
        mut body in vec(any::<u8>(), 0..90),
        inode in any::<u32>(),
    ) {
        for (request, at) in
            [(Request::Tcp { states: OPEN }, 68), (Request::Udp(AddressFamily::INET), 68), (Request::Unix, 4)]
        {
            let field = body.get_mut(at..at + 4);
            let expected = field.map(|field| {
                field.copy_from_slice(&inode.to_ne_bytes());
                u64::from(inode)
            });
            let bytes = encode(&[(20, 2, 1, body.clone())]);
            let message = Message::first(&bytes).unwrap();
            read_fields(&message);
            prop_assert_eq!(message.inode(request), expected);
        }
    }

    /// Numbers outside the range of errors were taken for errors: the smallest one
    /// overflowed, and others failed an assertion of rustix.
    #[test]
    fn status_is_an_error_or_success(
        status in prop_oneof![any::<i32>(), -4096..4096, Just(i32::MIN)],
        rest in vec(any::<u8>(), 0..9),
    ) {
        let body = [&status.to_ne_bytes()[..], &rest].concat();
        let bytes = encode(&[(NLMSG_DONE, 0, 1, body)]);
        let result = Message::first(&bytes).unwrap().status();
        // The kernel's range of error numbers.
        if (-4095..0).contains(&status) {
            prop_assert_eq!(result, Err(Errno::from_raw_os_error(-status)));
        } else {
            prop_assert_eq!(result, if status < 0 { Err(Errno::PROTO) } else { Ok(()) });
        }
    }
}
