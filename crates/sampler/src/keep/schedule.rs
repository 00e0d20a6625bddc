//! When to look at a process again.

use super::seen::Seen;

/// Every command line is read again within so many cycles: the bound within
/// which a title that was changed without a trace is noticed.
pub const COMMAND_LINE_TURN: u32 = 8;

/// A denied file is tried again after so many cycles: each try of a denied
/// file may write a record into the audit log.
pub const DENIED_TURN: u32 = 64;

/// Every process's descriptors are looked at again within so many cycles: the
/// bound within which a descriptor is noticed that became a socket while their
/// number stayed the same.
pub const DESCRIPTOR_TURN: u64 = 40;

/// So many descriptors are looked at each cycle at least (1 ms), so that small
/// populations are looked at whole every few cycles.
pub const DESCRIPTORS_A_CYCLE: u64 = 512;

/// The cycle in which a command line is due again after a look in cycle `now`.
///
/// The young are looked at in each of their first cycles, for a process seen
/// between fork and exec shows its parent's command line; then ever more
/// rarely. The old are spread over the cycles by pid.
pub(crate) fn next_look(seen: &Seen, now: u32) -> u32 {
    let age = now.saturating_sub(seen.born);
    if age < 2 {
        now + 1
    } else if age < COMMAND_LINE_TURN {
        now + age / 2
    } else {
        let turn = COMMAND_LINE_TURN;
        now + 1 + (seen.pid.wrapping_sub(now + 1) % turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_are_looked_at_once_in_a_turn_and_spread() {
        let mut a_cycle = [0; COMMAND_LINE_TURN as usize];
        for pid in 1000..1800 {
            let mut seen = Seen::new(pid, 1, 5);
            let (mut at, mut looks) = (5, Vec::new());
            while at < 200 {
                looks.push(at);
                let next = next_look(&seen, at);
                assert!(next > at && next - at <= COMMAND_LINE_TURN);
                at = next;
            }
            assert_eq!(looks[..4], [5, 6, 7, 8]);
            a_cycle[(at % COMMAND_LINE_TURN) as usize] += 1;
            seen.slot = None;
        }
        assert_eq!(a_cycle, [100; COMMAND_LINE_TURN as usize]);
    }
}
