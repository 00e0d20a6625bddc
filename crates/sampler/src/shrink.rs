//! Giving memory back after a storm.
//!
//! A page stays, and so does what is at most four times as much as is needed:
//! in steady state nothing moves. Lists that are filled and emptied in each
//! cycle give back while they are full.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

const PAGE: usize = 4096;

/// Gives back most of what a list no more needs.
pub(crate) fn shrink_vec<T>(list: &mut Vec<T>) {
    if let Some(capacity) = target_capacity::<T>(list.len(), list.capacity()) {
        list.shrink_to(capacity);
    }
}

/// The same of a map.
pub(crate) fn shrink_map<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if let Some(capacity) = target_capacity::<(K, V)>(map.len(), map.capacity()) {
        map.shrink_to(capacity);
    }
}

/// The capacity that will do, where that is much less than there is.
fn target_capacity<T>(len: usize, capacity: usize) -> Option<usize> {
    let page = PAGE / size_of::<T>().max(1);
    (capacity > page && len < capacity / 4).then(|| (len * 2).max(page / 2))
}
