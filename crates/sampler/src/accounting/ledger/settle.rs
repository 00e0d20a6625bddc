//! Settling: what became of those that are gone.

use std::collections::HashMap;

use psstat_proc_parse::{ProcessState, Stat};

use super::{ExitedAccount, Ledger, Slot};
use crate::accounting::counters::IoCounters;
use crate::image::ImageId;
use crate::shrink::shrink_vec;

/// After so many settlements without a reading of the heir, its readings are
/// not waited for any more.
const MAX_SETTLES_WITHOUT_READ: u8 = 8;

/// What became of a departed process's counters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolution {
    /// They are in the counters of one of these accounts, as far as its growth
    /// allows; or nobody's of ours, if these are none.
    InheritedBy(Vec<Slot>),
    /// Cannot be told before the ancestor has been read.
    Pending,
}

/// What `stat` says of a process that is still listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    /// Page faults of the children that it has waited for.
    pub(crate) cminflt: u64,
    /// It has ended, and its children have other parents.
    pub(crate) is_zombie: bool,
}

impl From<&Stat<'_>> for Parent {
    fn from(stat: &Stat<'_>) -> Parent {
        // One whose leader alone has ended has other threads.
        let is_zombie = matches!(stat.state, ProcessState::Zombie | ProcessState::Dead)
            && stat.num_threads <= 1;
        Parent { cminflt: stat.cminflt, is_zombie }
    }
}

/// What is found out once a settlement.
struct Settling<R> {
    /// Reads what a listed process is as a parent.
    read: R,
    parents: HashMap<Slot, Option<Parent>>,
    /// Growth of accounts that no child explains yet.
    unattributed: HashMap<Slot, IoCounters>,
    /// What of an account's growth was taken out of an image's sum.
    attributed: HashMap<(Slot, ImageId), IoCounters>,
}

impl<R: FnMut(Slot) -> Option<Parent>> Settling<R> {
    fn parent(&mut self, slot: Slot) -> Option<Parent> {
        let read = &mut self.read;
        *self.parents.entry(slot).or_insert_with(|| read(slot))
    }
}

impl Ledger {
    /// Decides what became of those that departed, after the readings of a
    /// cycle. `read` reads what a listed process is as a parent, `parent` tells
    /// who the parent of one is. `closed` is called with each account that is
    /// settled and whose slot is free.
    pub(crate) fn resolve_exits(
        &mut self,
        read: impl FnMut(Slot) -> Option<Parent>,
        parent: impl Fn(Slot) -> Option<Slot>,
        mut closed: impl FnMut(Slot),
    ) {
        let mut settling = Settling {
            read,
            parents: HashMap::new(),
            unattributed: HashMap::new(),
            attributed: HashMap::new(),
        };
        let mut gone = std::mem::take(&mut self.from_exited);
        shrink_vec(&mut gone);
        if !gone.is_empty() {
            // Parents first: a grandparent that has the child has the parent too.
            for departed in &mut gone {
                departed.depth = self.ancestors_gone(departed.slot, &parent);
                departed.adopted |= self.departed(departed.slot).is_some_and(|parent| {
                    parent.is_some_and(|parent| self.departed(parent).is_some())
                });
            }
            gone.sort_unstable_by_key(|departed| (departed.depth, departed.slot));
            for departed in &mut gone {
                departed.age = departed.age.saturating_add(1);
                departed.verdict = self.resolve(departed, &mut settling, &parent);
            }
            // An ancestor may be settled, and its slot reused, before one that
            // is still open: link that one to who is left.
            for departed in gone.iter().filter(|departed| departed.verdict == Resolution::Pending) {
                let heir = self.nearest_live_ancestor(departed.slot);
                self.account(departed.slot).exited = Some(heir);
            }
            // Children first: what a child leaves to a parent that is gone too
            // goes on with the parent's.
            for departed in gone.iter().rev() {
                if let Resolution::InheritedBy(heirs) = &departed.verdict {
                    self.close(departed.slot, heirs, &mut settling);
                }
            }
            gone.retain(|departed| {
                let open = departed.verdict == Resolution::Pending;
                if !open {
                    closed(departed.slot);
                }
                open
            });
        }
        self.from_exited = gone;
        self.apply_deferred(&mut settling);
        for (slot, now) in settling.parents {
            let Some(Parent { cminflt: now, .. }) = now else { continue };
            let since = self.pass.wrapping_add(1);
            let known = &mut self.account(slot).cminflt;
            if known.is_none_or(|(before, _)| before != now) {
                *known = Some((now, since));
            }
        }
        for account in self.accounts.iter_mut().flatten() {
            account.settled = account.last;
            account.read_since_settle = false;
            account.after_parent_read = false;
        }
    }

    /// The parent of one that is gone; `None` if it is not.
    fn departed(&self, slot: Slot) -> Option<Option<Slot>> {
        self.get(slot)?.exited
    }

    /// The parent of a process, gone or not.
    fn above(&self, slot: Slot, parent: impl Fn(Slot) -> Option<Slot>) -> Option<Slot> {
        self.departed(slot).unwrap_or_else(|| parent(slot))
    }

    /// The ancestors of a process, gone or not. A ring of parents cannot be; were
    /// there one, the number of accounts ends it.
    fn ancestors(
        &self,
        slot: Slot,
        parent: impl Fn(Slot) -> Option<Slot>,
    ) -> impl Iterator<Item = Slot> {
        let above = move |&slot: &Slot| self.above(slot, &parent);
        std::iter::successors(above(&slot), above).take(self.accounts.len())
    }

    /// How many of its ancestors are gone too.
    fn ancestors_gone(&self, slot: Slot, parent: impl Fn(Slot) -> Option<Slot>) -> usize {
        self.ancestors(slot, parent).filter(|&slot| self.departed(slot).is_some()).count()
    }

    /// The nearest ancestor of one that is gone that is not.
    fn nearest_live_ancestor(&self, slot: Slot) -> Option<Slot> {
        self.ancestors(slot, |_| None).find(|&slot| self.departed(slot).is_none())
    }

    fn resolve(
        &mut self,
        departed: &ExitedAccount,
        settling: &mut Settling<impl FnMut(Slot) -> Option<Parent>>,
        parent: &impl Fn(Slot) -> Option<Slot>,
    ) -> Resolution {
        let gone = self.account(departed.slot);
        if gone.after_parent_read {
            return Resolution::Pending;
        }
        let (needed, alive) = (gone.last.unwrap_or_default(), gone.last_alive_pass);
        let mut heirs = Vec::new();
        // Those that may have it, though others claim the same growth.
        let mut disputed = Vec::new();
        let (mut adopted, mut late, mut found) = (departed.adopted, false, false);
        let mut below = departed.slot;
        for _ in 0..self.accounts.len() {
            let Some(slot) = self.above(below, parent) else { break };
            below = slot;
            let account = self.account(slot);
            let (is_read, fresh) = (account.is_read(), account.read_since_settle);
            if account.exited.is_some() {
                late |= account.after_parent_read;
                adopted = true;
                // It may have been read after the child's end.
                if fresh && self.growth(slot).all_ge(needed) {
                    if self.attribute(slot, needed, settling) {
                        found = true;
                        heirs.push(slot);
                        if self.is_member_of_all_images_of(slot, departed.slot) {
                            return Resolution::InheritedBy(heirs);
                        }
                    } else {
                        disputed.push(slot);
                    }
                }
                continue;
            }
            // While its parent lives, it is nobody else's. One that has ended is
            // listed until it is waited for itself.
            adopted |= settling.parent(slot).is_none_or(|parent| parent.is_zombie);
            let may_have_it = !(is_read && fresh) || self.growth(slot).all_ge(needed);
            if may_have_it && self.may_have_absorbed(slot, alive, settling) {
                // Not once this cycle's growth of a nearer one speaks for that.
                let is_first = heirs.is_empty() && disputed.is_empty();
                if is_read && !fresh && departed.age < MAX_SETTLES_WITHOUT_READ && is_first {
                    return Resolution::Pending;
                }
                // Of one that is not read nothing tells; it carries what is
                // already counted.
                let is_explained = is_read && fresh && self.attribute(slot, needed, settling);
                if is_explained || !(is_read && fresh) {
                    found |= is_explained;
                    heirs.push(slot);
                    let is_clear =
                        is_explained && self.is_member_of_all_images_of(slot, departed.slot);
                    if !adopted || is_clear {
                        return Resolution::InheritedBy(heirs);
                    }
                } else {
                    disputed.push(slot);
                }
            }
            if !adopted {
                break;
            }
        }
        if late && !found {
            // It may come with that one, after everyone's reading.
            return Resolution::Pending;
        }
        heirs.extend(disputed);
        Resolution::InheritedBy(heirs)
    }

    /// Whether an account is a member of all images that a departed one has to
    /// do with: then it does not matter if another such one has its counters.
    fn is_member_of_all_images_of(&self, slot: Slot, departed: Slot) -> bool {
        let standings = |slot: Slot| self.get(slot).map_or(&[][..], |account| &account.standings);
        standings(departed).iter().all(|standing| {
            standings(slot).iter().any(|other| other.member && other.image == standing.image)
        })
    }

    /// By how much children can have made an account grow.
    fn growth(&self, slot: Slot) -> IoCounters {
        let Some(account) = self.get(slot) else { return IoCounters::ZERO };
        match (account.last, account.settled) {
            (Some(last), Some(settled)) => last.saturating_sub(settled),
            // All that it ever did may be its children's.
            (Some(last), None) => last,
            (None, _) => IoCounters::ZERO,
        }
    }

    /// Explains a part of an account's growth, if there is so much.
    fn attribute<R>(&self, slot: Slot, needed: IoCounters, settling: &mut Settling<R>) -> bool {
        let left = settling.unattributed.entry(slot).or_insert_with(|| self.growth(slot));
        let covers = left.all_ge(needed);
        if covers {
            *left = left.saturating_sub(needed);
        }
        covers
    }

    /// Whether a living process can have absorbed a child that was there in
    /// pass `alive`, by its `cminflt`.
    fn may_have_absorbed(
        &mut self,
        slot: Slot,
        alive: u32,
        settling: &mut Settling<impl FnMut(Slot) -> Option<Parent>>,
    ) -> bool {
        let now = settling.parent(slot).map(|parent| parent.cminflt);
        let pass = self.pass;
        let account = self.account(slot);
        match (now, account.cminflt) {
            (Some(0), _) => false,
            (Some(now), Some((before, since))) if since <= alive && now == before => false,
            _ => {
                if now.is_some() {
                    account.last_alive_pass = pass;
                }
                true
            }
        }
    }

    fn close<R>(&mut self, slot: Slot, heirs: &[Slot], settling: &mut Settling<R>) {
        let account = self.accounts.get_mut(slot as usize).and_then(Option::take);
        let Some(account) = account else { return };
        for standing in &account.standings {
            let mut counted = standing.offset;
            if standing.member
                && let Some(last) = account.last
            {
                let book = self.totals_of(standing.image);
                book.gone = book.gone.saturating_add(last.saturating_sub(standing.offset));
                book.read = true;
                counted = last;
            }
            let owed = self.deferred.remove(&(slot, standing.image)).unwrap_or_default();
            for &heir in heirs {
                let image = standing.image;
                self.exclude_already_counted(heir, image, counted.saturating_add(owed), settling);
                let heir = self.account(heir);
                // Of one that was not read it is not known.
                if heir.is_read() && heir.read_since_settle && heir.member(image).is_some() {
                    break;
                }
            }
        }
    }

    /// Keeps what is counted already, and is in an account's counters now, from
    /// being counted in these too.
    fn exclude_already_counted<R>(
        &mut self,
        slot: Slot,
        image: ImageId,
        counted: IoCounters,
        settling: &mut Settling<R>,
    ) {
        let account = self.account(slot);
        let (is_read, fresh) = (account.is_read(), account.read_since_settle);
        let (last, settled) = (account.last.unwrap_or_default(), account.settled);
        let standing = account.standing(image);
        if !is_read {
            standing.offset = standing.offset.saturating_add(counted);
        } else if !fresh {
            let owed = self.deferred.entry((slot, image)).or_default();
            *owed = owed.saturating_add(counted);
        } else {
            // No more than it grew by, or the sum would fall.
            let taken = settling.attributed.entry((slot, image)).or_default();
            let room = match settled {
                Some(settled) => last.saturating_sub(settled).saturating_sub(*taken),
                None if standing.member => last.saturating_sub(standing.offset),
                None => last.saturating_sub(*taken),
            };
            let part = counted.clamp_to(room.max(IoCounters::ZERO));
            *taken = taken.saturating_add(part);
            standing.offset = standing.offset.saturating_add(part);
        }
    }

    /// Those that were read again pay what they owe, of the growth that is left.
    fn apply_deferred<R>(&mut self, settling: &mut Settling<R>) {
        if self.deferred.is_empty() {
            return;
        }
        let owed = std::mem::take(&mut self.deferred);
        for ((slot, image), counted) in owed {
            // Who was not read goes on owing.
            self.exclude_already_counted(slot, image, counted, settling);
        }
    }
}
