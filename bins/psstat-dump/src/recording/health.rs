//! Statistics of failed reads, as a list of integers. New ones are appended.

use psstat_sampler::{Health, PerFile};

fn all(health: &mut Health) -> Vec<&mut u64> {
    let Health { processes, matched, blocked, denied, failed, .. } = health;
    let mut all = vec![processes, matched, blocked];
    let PerFile { command_line, io, fd, netns, statm, stat, limits, status, net, .. } = denied;
    all.extend([command_line, io, fd, netns, statm, stat, limits, status, net]);
    let PerFile { command_line, io, fd, netns, statm, stat, limits, status, net, .. } = failed;
    all.extend([command_line, io, fd, netns, statm, stat, limits, status, net]);
    all
}

/// The numbers.
pub(super) fn values(health: &Health) -> Vec<i64> {
    let mut health = *health;
    all(&mut health).into_iter().map(|value| *value as i64).collect()
}

/// The statistics with these numbers; those that are missing are 0.
pub(super) fn health(values: &[i64]) -> Health {
    let mut health = Health::default();
    for (place, value) in all(&mut health).into_iter().zip(values) {
        *place = *value as u64;
    }
    health
}
