//! The io ledger: an image's io counters never fall and count nothing twice,
//! whatever its processes do. Pure: readings and events in, sums out.
//!
//! # The problem
//! A process that ends takes its counters with it, so its last reading has to
//! stay in its image's sum. But when a parent waits for it, the kernel adds the
//! child's final counters to the parent's own, and then the last reading has to
//! go, or it counts twice. Between the two lie processes of other images, and
//! processes that changed image.
//!
//! # The books
//! Each process of interest has an account: its last reading, and for each
//! image that it has to do with a *standing*:
//!
//! * a member of the image contributes `last − offset`;
//! * one that is no member (it left the image, or stands between a member and
//!   an ancestor that is one) contributes nothing, but its `offset` remembers
//!   what of its counters is already counted, for the day when they land in a
//!   member's.
//!
//! An image's value is `gone + Σ (last − offset)` over its members.
//!
//! # The invariant
//! *An account's last reading holds nothing of a process that still has an
//! account of its own.* Whoever feeds the ledger keeps it by the order of
//! reads: children before parents, and after each parent a look whether the
//! children are still there ([`Ledger::accept`], [`Ledger::withdraw`]).
//!
//! # What was never read
//! A process that joins an image and cannot be read at that moment takes its
//! offset from the first reading that succeeds: nothing is made up meanwhile.
//!
//! # Was it absorbed?
//! Two things can tell that a parent did not take over a child's counters (it
//! ignores `SIGCHLD`, say), whatever it did with that signal in between:
//!
//! * The kernel adds the child's page faults to the parent's `cminflt` in the
//!   same step as its io. While that stands where it stood when the child was
//!   last known to live, the parent has absorbed nobody.
//! * Each of the parent's counters grew by at least the child's last reading if
//!   it did. If one grew by less, it did not.
//!
//! Where both allow it, absorption is assumed, for no more than the growth that
//! no other child explains: then the sum can miss something, but never falls or
//! counts twice.
//!
//! Who of several ancestors? The parent, while that lives. If the parent ended,
//! still listed as a zombie or not, it may have had the child before its own last reading;
//! or else the next ancestor has both; or the child was adopted by one further
//! up. The nearest whose growth allows it is taken. If that is no member of the
//! image, its offset remembers what is counted, and since a member further up
//! may have it all the same, the nearest of those whose growth allows it is
//! charged too. An ancestor that went after its own heir's reading brings what
//! it had from its children with the next one: a child that no growth explains
//! waits for that.
//!
//! A parent that cannot be read for long does not keep its children's accounts
//! open for ever: what they left is counted, and *owed* by the parent. Its next
//! reading pays, out of its growth.

mod settle;

pub(crate) use settle::Parent;

use std::collections::HashMap;

use super::counters::IoCounters;
use crate::image::ImageId;
use crate::shrink::shrink_vec;

/// The index of an account; given by the caller, reused after it was settled.
pub(crate) type Slot = u32;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    images: Vec<ImageTotals>,
    /// By slot. Boxed, so that an empty slot below one in use costs a pointer.
    accounts: Vec<Option<Box<Account>>>,
    /// Processes that are gone and whose accounts are not settled yet.
    from_exited: Vec<ExitedAccount>,
    /// Counts the times that everybody is looked at.
    pass: u32,
    /// What accounts that cannot be read may hold of children that are counted
    /// already.
    deferred: HashMap<(Slot, ImageId), IoCounters>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ImageTotals {
    /// What is counted of processes that are no members any more.
    gone: IoCounters,
    /// Whether anything of this image was ever read.
    read: bool,
}

#[derive(Debug, Default)]
struct Account {
    /// The last accepted reading.
    last: Option<IoCounters>,
    /// The accepted reading at the last settlement: `last − settled` is the
    /// growth that children may have caused since.
    settled: Option<IoCounters>,
    /// Accepted a reading since the last settlement.
    read_since_settle: bool,
    /// The last pass in which it was there after `cminflt` was read.
    last_alive_pass: u32,
    /// Page faults of children that it waited for, and the pass before which
    /// they were read.
    cminflt: Option<(u64, u32)>,
    /// The process is gone, and this was its parent's account.
    exited: Option<Option<Slot>>,
    /// It went since the last settlement, after its heir's reading, which therefore
    /// does not hold it, nor what it had from its own children.
    after_parent_read: bool,
    standings: Vec<Membership>,
}

#[derive(Clone, Copy, Debug)]
struct Membership {
    image: ImageId,
    member: bool,
    /// The first reading will be the offset.
    unread: bool,
    offset: IoCounters,
}

#[derive(Debug)]
struct ExitedAccount {
    slot: Slot,
    /// How many settlements could not decide on it.
    age: u8,
    /// How many of its ancestors are gone too; set while settling.
    depth: usize,
    /// Its parent may have ended before it.
    adopted: bool,
    verdict: settle::Resolution,
}

impl Ledger {
    /// Makes room for images up to this number.
    pub(crate) fn ensure_images(&mut self, count: usize) {
        if self.images.len() < count {
            self.images.resize(count, ImageTotals::default());
        }
    }

    /// Opens an account without a standing.
    pub(crate) fn open(&mut self, slot: Slot) {
        *self.account(slot) = Account::default();
    }

    /// Begins a pass: a reading of `cminflt` where [`Ledger::knows_cminflt`]
    /// misses it, then readings of io.
    pub(crate) fn begin_pass(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// Whether there is something to compare a parent's `cminflt` with.
    pub(crate) fn knows_cminflt(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|account| account.cminflt.is_some())
    }

    /// Notes a process's `cminflt` of this pass.
    pub(crate) fn note_cminflt(&mut self, slot: Slot, cminflt: u64) {
        let pass = self.pass;
        self.account(slot).cminflt = Some((cminflt, pass));
    }

    /// Takes a process into an image that it belongs to from birth, or from
    /// before our time: all that it did is the image's.
    pub(crate) fn join_with_history(&mut self, slot: Slot, image: ImageId) {
        self.ensure_images(image.index() + 1);
        // But for what is counted already of those that it has waited for.
        self.account(slot).standing(image).member = true;
    }

    /// Takes a process into an image that was of others or none: what it did
    /// until its last reading is not the image's, or until its next one if it
    /// has none.
    pub(crate) fn join(&mut self, slot: Slot, image: ImageId) {
        self.ensure_images(image.index() + 1);
        let account = self.account(slot);
        let last = account.last;
        let standing = account.standing(image);
        standing.member = true;
        standing.unread = last.is_none();
        // What was counted before stays known until then.
        standing.offset = last.unwrap_or(standing.offset);
    }

    /// Begins an account that was not read (any more) for a process that is
    /// about to join an image: with a reading, if there is one. What grows from
    /// there may be its children's.
    pub(crate) fn set_baseline(&mut self, slot: Slot, reading: Option<IoCounters>) {
        let pass = self.pass;
        let account = self.account(slot);
        account.last = reading;
        account.settled = reading;
        account.read_since_settle = false;
        if let Some(reading) = reading {
            account.last_alive_pass = pass;
            self.apply_first_reading(slot, reading);
        }
    }

    /// The first reading of an account: what it owes is in there, and what it
    /// was charged with more than that was never in its counters.
    fn apply_first_reading(&mut self, slot: Slot, reading: IoCounters) {
        let account = self.accounts.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(account) = account else { return };
        for standing in &mut account.standings {
            let owed = self.deferred.remove(&(slot, standing.image));
            standing.offset = match std::mem::take(&mut standing.unread) {
                true => reading,
                false => standing.offset.saturating_add(owed.unwrap_or_default()).clamp_to(reading),
            };
        }
    }

    /// Takes a process out of an image; what it did there stays.
    pub(crate) fn leave(&mut self, slot: Slot, image: ImageId) {
        let account = self.account(slot);
        let last = account.last;
        let Some(standing) = account.member(image) else { return };
        standing.member = false;
        if std::mem::take(&mut standing.unread) {
            return;
        }
        if let Some(last) = last {
            let done = last.saturating_sub(standing.offset);
            standing.offset = last;
            let book = self.totals_of(image);
            book.gone = book.gone.saturating_add(done);
            book.read = true;
        }
    }

    /// The last accepted reading.
    pub(crate) fn last(&self, slot: Slot) -> Option<IoCounters> {
        self.get(slot).and_then(|account| account.last)
    }

    /// Takes a new reading as true: every child with an account was still there
    /// after it, or is reported gone before the next settlement. Tells whether
    /// it is another than the last one.
    pub(crate) fn accept(&mut self, slot: Slot, reading: IoCounters) -> bool {
        let pass = self.pass;
        let account = self.account(slot);
        let is_other = account.last.replace(reading) != Some(reading);
        account.read_since_settle = true;
        account.last_alive_pass = pass;
        if account.settled.is_none() {
            self.apply_first_reading(slot, reading);
        }
        is_other
    }

    /// Takes the readings since the last settlement back: a child may have
    /// ended before or after them.
    pub(crate) fn withdraw(&mut self, slot: Slot) {
        let account = self.account(slot);
        account.last = account.settled;
        account.read_since_settle = false;
    }

    /// A process is gone; `parent` is the account of its parent when it was
    /// last seen, gone itself or not. It went before its parent's reading, or
    /// that one was withdrawn.
    pub(crate) fn mark_exited(&mut self, slot: Slot, parent: Option<Slot>) {
        self.retire(slot, parent, false);
    }

    /// The same for one that may have gone after its parent's reading: the next
    /// one will tell.
    pub(crate) fn mark_exited_after_parent_read(&mut self, slot: Slot, parent: Option<Slot>) {
        self.retire(slot, parent, true);
    }

    fn retire(&mut self, slot: Slot, parent: Option<Slot>, late: bool) {
        let account = self.account(slot);
        account.exited = Some(parent);
        account.after_parent_read = late;
        let verdict = settle::Resolution::Pending;
        self.from_exited.push(ExitedAccount { slot, age: 0, depth: 0, adopted: false, verdict });
    }

    /// Gives the memory of accounts back that nobody has: all from this slot on.
    pub(crate) fn truncate(&mut self, end: Slot) {
        if self.accounts.len() > end as usize {
            self.accounts.truncate(end as usize);
            shrink_vec(&mut self.accounts);
        }
    }

    /// Adds each image's counters into `totals`, by image number; `None` stays
    /// where nothing was ever read.
    pub(crate) fn totals(&self, totals: &mut [Option<IoCounters>]) {
        for (book, total) in self.images.iter().zip(&mut *totals) {
            *total = book.read.then_some(book.gone);
        }
        for account in self.accounts.iter().flatten() {
            let Some(last) = account.last else { continue };
            for standing in account.standings.iter().filter(|s| s.member && !s.unread) {
                if let Some(total) = totals.get_mut(standing.image.index()) {
                    let sum = total.unwrap_or(self.images[standing.image.index()].gone);
                    *total = Some(sum.saturating_add(last.saturating_sub(standing.offset)));
                }
            }
        }
    }

    fn get(&self, slot: Slot) -> Option<&Account> {
        self.accounts.get(slot as usize)?.as_deref()
    }

    fn account(&mut self, slot: Slot) -> &mut Account {
        let slot = slot as usize;
        if self.accounts.len() <= slot {
            self.accounts.resize_with(slot + 1, || None);
        }
        self.accounts[slot].get_or_insert_default()
    }

    fn totals_of(&mut self, image: ImageId) -> &mut ImageTotals {
        self.ensure_images(image.index() + 1);
        &mut self.images[image.index()]
    }
}

impl Account {
    /// Whether its growth is known: those that belong to no image are not read.
    fn is_read(&self) -> bool {
        self.last.is_some() && self.standings.iter().any(|standing| standing.member)
    }

    fn member(&mut self, image: ImageId) -> Option<&mut Membership> {
        self.standings.iter_mut().find(|standing| standing.image == image && standing.member)
    }

    /// The standing in an image, as no member if it is new.
    fn standing(&mut self, image: ImageId) -> &mut Membership {
        let found = self.standings.iter().position(|standing| standing.image == image);
        let at = found.unwrap_or_else(|| {
            // One is what most have.
            self.standings.reserve_exact(1);
            self.standings.push(Membership {
                image,
                member: false,
                unread: false,
                offset: IoCounters::ZERO,
            });
            self.standings.len() - 1
        });
        &mut self.standings[at]
    }
}

#[cfg(test)]
mod tests;
