//! When to look at a process again.

use super::seen::Seen;

/// The command line of every process of an image is read again within so many
/// cycles, and that of a process that was there for fewer: the bound within
/// which a title that was changed without a trace is noticed.
pub const COMMAND_LINE_TURN: u32 = 8;

/// The same for those of no image that have been there for longer. There can be
/// twenty of them for each that matters, and to read all their command lines
/// more often would cost more than everything else on such a machine.
pub const STRANGERS_TURN: u32 = 16;

/// A denied file is tried again after so many cycles: each try of a denied
/// file may write a record into the audit log.
pub const DENIED_TURN: u32 = 64;

/// Every process's descriptors are looked at again within so many cycles: the
/// bound within which a descriptor is noticed that became a socket while their
/// number stayed the same.
pub const DESCRIPTOR_TURN: u64 = 40;

/// So many descriptors are looked at each cycle at least (a quarter of a millisecond),
/// so that small populations are looked at whole every few cycles.
pub const DESCRIPTORS_A_CYCLE: u64 = 128;

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
        let is_strange = seen.slot.is_none() && age >= STRANGERS_TURN;
        let turn = if is_strange { STRANGERS_TURN } else { COMMAND_LINE_TURN };
        now + 1 + (seen.pid.wrapping_sub(now + 1) % turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(pid: u32, slot: Option<u32>) -> Vec<u32> {
        let mut seen = Seen::new(pid, 1, 5);
        seen.slot = slot;
        let (mut at, mut looks) = (5, Vec::new());
        while at < 205 {
            looks.push(at);
            at = next_look(&seen, at);
        }
        looks
    }

    #[test]
    fn the_old_are_looked_at_once_in_a_turn_and_spread() {
        for (slot, turn) in [(Some(3), COMMAND_LINE_TURN), (None, STRANGERS_TURN)] {
            let mut a_cycle = vec![0; turn as usize];
            for pid in 1000..1800 {
                let looks = looks(pid, slot);
                assert_eq!(looks[..4], [5, 6, 7, 8]);
                for pair in looks.windows(2) {
                    let (young, gap) = (pair[0] < 5 + STRANGERS_TURN, pair[1] - pair[0]);
                    assert!(gap > 0 && gap <= if young { COMMAND_LINE_TURN } else { turn });
                }
                let last = looks.last().copied().unwrap_or_default();
                a_cycle[(last % turn) as usize] += 1;
            }
            assert_eq!(a_cycle, vec![800 / turn; turn as usize]);
        }
    }
}
