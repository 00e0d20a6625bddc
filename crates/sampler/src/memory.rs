//! Giving memory back after a storm.

/// Gives back most of what a list no more needs, when that is much; in steady
/// state nothing moves.
pub(crate) fn give_back<T>(list: &mut Vec<T>) {
    const WORTH_WHILE: usize = 1024;
    if list.capacity() > WORTH_WHILE && list.len() < list.capacity() / 8 {
        list.shrink_to((list.len() * 2).max(WORTH_WHILE / 2));
    }
}
