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
//! # Was it absorbed?
//! A parent that ignores `SIGCHLD` gets nothing of its children. If it absorbed
//! one, each of its counters grew by at least the child's last reading; if one
//! grew by less, it did not. Where the growth allows both, absorption is
//! assumed: then the sum can miss something, but never falls or counts twice.
//!
//! Who of several ancestors? The parent, while that lives. If the parent ended
//! in the same interval, it may have had the child before its own last reading;
//! or else the next ancestor has both; or the child was adopted by one further
//! up. The nearest whose growth allows it is taken.

use super::counters::Counters;
use crate::image::ImageId;
use crate::memory::give_back;

/// The index of an account; given by the caller, reused after it was settled.
pub(crate) type Slot = u32;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    images: Vec<ImageBook>,
    accounts: Vec<Account>,
    /// Processes that are gone and whose accounts are not settled yet.
    gone: Vec<Departed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ImageBook {
    /// What is counted of processes that are no members any more.
    gone: Counters,
    /// Whether anything of this image was ever read.
    read: bool,
}

#[derive(Debug, Default)]
struct Account {
    /// The last accepted reading.
    last: Option<Counters>,
    /// The accepted reading at the last settlement: `last − settled` is the
    /// growth that children may have caused since.
    settled: Option<Counters>,
    /// Growth not yet explained by an absorbed child; used while settling.
    budget: Counters,
    /// Accepted a reading since the last settlement.
    fresh: bool,
    /// The process is gone, and this was its parent's account.
    departed: Option<Option<Slot>>,
    standings: Vec<Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    image: ImageId,
    member: bool,
    offset: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Departed {
    slot: Slot,
    /// How many settlements could not decide on it.
    age: u8,
    /// How many of its ancestors in a row are gone too; set while settling.
    depth: u32,
    /// It went after its heir's reading, which therefore does not hold it.
    late: bool,
    verdict: Verdict,
}

/// After so many settlements without a reading of the heir, its readings are
/// not waited for any more.
const PATIENCE: u8 = 8;

/// What became of a departed process's counters.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// They are in this account's counters.
    AbsorbedBy(Slot),
    /// Nobody's of ours.
    Lost,
    /// Cannot be told before the ancestor has been read.
    Open,
}

impl Ledger {
    /// Makes room for images up to this number.
    pub(crate) fn ensure_images(&mut self, count: usize) {
        if self.images.len() < count {
            self.images.resize(count, ImageBook::default());
        }
    }

    /// Opens an account without a standing.
    pub(crate) fn open(&mut self, slot: Slot) {
        let slot = slot as usize;
        if self.accounts.len() <= slot {
            self.accounts.resize_with(slot + 1, Account::default);
        }
        self.accounts[slot].clear();
    }

    /// Takes a process into an image. `offset` is what of its counters is not
    /// the image's: zero for one that belongs to it from birth (or from before
    /// our time), else its reading at this moment.
    pub(crate) fn join(&mut self, slot: Slot, image: ImageId, offset: Counters) {
        self.ensure_images(image.index() + 1);
        let standing = self.account(slot).standing(image);
        standing.member = true;
        standing.offset = offset;
    }

    /// Begins an account that was not read (any more) with a reading, for a
    /// process that is about to join an image: what grows from here may be its
    /// children's.
    pub(crate) fn begin(&mut self, slot: Slot, reading: Counters) {
        let account = self.account(slot);
        account.last = Some(reading);
        account.settled = Some(reading);
        account.fresh = false;
        for standing in &mut account.standings {
            standing.offset = standing.offset.min(reading);
        }
    }

    /// Takes a process out of an image; what it did there stays.
    pub(crate) fn leave(&mut self, slot: Slot, image: ImageId) {
        let account = self.account(slot);
        let last = account.last;
        let Some(standing) = account.member(image) else { return };
        standing.member = false;
        if let Some(last) = last {
            let done = last.minus(standing.offset);
            standing.offset = last;
            let book = self.book(image);
            book.gone = book.gone.plus(done);
            book.read = true;
        }
    }

    /// The last accepted reading.
    pub(crate) fn last(&self, slot: Slot) -> Option<Counters> {
        self.accounts.get(slot as usize).and_then(|account| account.last)
    }

    /// Takes a new reading as true: every child with an account was still there
    /// after it, or is reported gone before the next settlement.
    pub(crate) fn accept(&mut self, slot: Slot, reading: Counters) {
        let account = self.account(slot);
        account.last = Some(reading);
        account.fresh = true;
        if account.settled.is_none() {
            // What a process without readings was charged with children that
            // never were in its counters would make it negative.
            for standing in &mut account.standings {
                standing.offset = standing.offset.min(reading);
            }
        }
    }

    /// Takes the readings since the last settlement back: a child may have
    /// ended before or after them.
    pub(crate) fn withdraw(&mut self, slot: Slot) {
        let account = self.account(slot);
        account.last = account.settled;
        account.fresh = false;
    }

    /// A process is gone; `parent` is the account of its parent when it was
    /// last seen, gone itself or not. It went before its parent's reading, or
    /// that one was withdrawn.
    pub(crate) fn depart(&mut self, slot: Slot, parent: Option<Slot>) {
        self.part(slot, parent, false);
    }

    /// The same for one that may have gone after its parent's reading: the next
    /// one will tell.
    pub(crate) fn depart_late(&mut self, slot: Slot, parent: Option<Slot>) {
        self.part(slot, parent, true);
    }

    fn part(&mut self, slot: Slot, parent: Option<Slot>, late: bool) {
        self.account(slot).departed = Some(parent);
        self.gone.push(Departed { slot, age: 0, depth: 0, late, verdict: Verdict::Open });
    }

    /// Decides what became of those that departed, after the readings of a
    /// cycle. `absorbs` tells whether a process takes its children's counters
    /// at all, `parent` who a living one's parent is. `closed` is called with
    /// each account that is settled and whose slot is free.
    pub(crate) fn settle(
        &mut self,
        mut absorbs: impl FnMut(Slot) -> bool,
        parent: impl Fn(Slot) -> Option<Slot>,
        mut closed: impl FnMut(Slot),
    ) {
        let mut gone = std::mem::take(&mut self.gone);
        if !gone.is_empty() {
            for account in &mut self.accounts {
                account.budget = match (account.last, account.settled) {
                    (Some(last), Some(settled)) => last.minus(settled),
                    // All that it ever did may be its children's.
                    (Some(last), None) => last,
                    (None, _) => Counters::ZERO,
                };
            }
            // Parents first: a grandparent that has the child has the parent too.
            for departed in &mut gone {
                departed.depth = self.ancestors_gone(departed.slot).0;
            }
            gone.sort_unstable_by_key(|departed| (departed.depth, departed.slot));
            for departed in &mut gone {
                departed.age = departed.age.saturating_add(1);
                departed.verdict = match std::mem::take(&mut departed.late) {
                    true => Verdict::Open,
                    false => self.judge(*departed, &mut absorbs, &parent),
                };
            }
            // An ancestor may be settled, and its slot reused, before one that
            // is still open: link that one to who is left.
            for departed in gone.iter().filter(|departed| departed.verdict == Verdict::Open) {
                let heir = self.ancestors_gone(departed.slot).1;
                self.account(departed.slot).departed = Some(heir);
            }
            // Children first: what a child leaves to a parent that is gone too
            // goes on with the parent's.
            for departed in gone.iter().rev() {
                self.close(departed.slot, departed.verdict);
            }
            gone.retain(|departed| {
                let open = departed.verdict == Verdict::Open;
                if !open {
                    closed(departed.slot);
                }
                open
            });
        }
        self.gone = gone;
        for account in &mut self.accounts {
            account.settled = account.last;
            account.fresh = false;
        }
    }

    /// Gives the memory of accounts back that nobody has: all from this slot on.
    pub(crate) fn end_at(&mut self, end: Slot) {
        if self.accounts.len() > end as usize {
            self.accounts.truncate(end as usize);
            give_back(&mut self.accounts);
        }
    }

    /// Adds each image's counters into `totals`, by image number; `None` stays
    /// where nothing was ever read.
    pub(crate) fn totals(&self, totals: &mut [Option<Counters>]) {
        for (book, total) in self.images.iter().zip(&mut *totals) {
            *total = book.read.then_some(book.gone);
        }
        for account in &self.accounts {
            let Some(last) = account.last else { continue };
            for standing in account.standings.iter().filter(|standing| standing.member) {
                if let Some(total) = totals.get_mut(standing.image.index()) {
                    let sum = total.unwrap_or(self.images[standing.image.index()].gone);
                    *total = Some(sum.plus(last.minus(standing.offset)));
                }
            }
        }
    }

    /// How many ancestors in a row are gone, and the nearest that is not.
    fn ancestors_gone(&self, slot: Slot) -> (u32, Option<Slot>) {
        let departed = |slot: Slot| self.accounts.get(slot as usize).and_then(|a| a.departed);
        let mut depth = 0;
        let mut parent = departed(slot).flatten();
        while let Some(at) = parent {
            let Some(above) = departed(at) else { break };
            parent = above;
            depth += 1;
            // A ring of parents cannot be; were there one, this ends it.
            if depth as usize > self.accounts.len() {
                return (depth, None);
            }
        }
        (depth, parent)
    }

    fn judge(
        &mut self,
        departed: Departed,
        absorbs: &mut impl FnMut(Slot) -> bool,
        parent: &impl Fn(Slot) -> Option<Slot>,
    ) -> Verdict {
        let needed = self.account(departed.slot).weight();
        // A parent that is gone too, but was read after the child's end.
        let mut at = departed.slot;
        for _ in 0..departed.depth {
            let Some(Some(above)) = self.account(at).departed else { break };
            if self.account(above).fresh && self.charge(above, needed) {
                return Verdict::AbsorbedBy(above);
            }
            at = above;
        }
        let mut heir = self.ancestors_gone(departed.slot).1;
        while let Some(slot) = heir {
            let account = self.account(slot);
            if !account.is_read() {
                // Nothing to test against; it carries what is already counted.
                if absorbs(slot) {
                    return Verdict::AbsorbedBy(slot);
                }
            } else if !account.fresh {
                if departed.age < PATIENCE {
                    return Verdict::Open;
                }
            } else if account.budget.covers(needed) && absorbs(slot) {
                self.charge(slot, needed);
                return Verdict::AbsorbedBy(slot);
            }
            // While its parent lives, it is nobody else's.
            heir = if departed.depth > 0 { parent(slot) } else { None };
        }
        Verdict::Lost
    }

    /// Explains a part of an account's growth, if there is so much.
    fn charge(&mut self, slot: Slot, needed: Counters) -> bool {
        let account = self.account(slot);
        let covers = account.budget.covers(needed);
        if covers {
            account.budget = account.budget.minus(needed);
        }
        covers
    }

    fn close(&mut self, slot: Slot, verdict: Verdict) {
        let heir = match verdict {
            Verdict::Open => return,
            Verdict::AbsorbedBy(heir) => Some(heir),
            Verdict::Lost => None,
        };
        let account = std::mem::take(self.account(slot));
        for standing in &account.standings {
            let inherits = heir.is_some_and(|heir| {
                let heir = self.account(heir);
                heir.last.is_some() && heir.member(standing.image).is_some()
            });
            let mut excluded = standing.offset;
            if standing.member
                && !inherits
                && let Some(last) = account.last
            {
                let book = self.book(standing.image);
                book.gone = book.gone.plus(last.minus(standing.offset));
                book.read = true;
                excluded = last;
            }
            if let Some(heir) = heir {
                let theirs = self.account(heir).standing(standing.image);
                theirs.offset = theirs.offset.plus(excluded);
            }
        }
        // Its memory serves the next process in this slot.
        *self.account(slot) = account;
        self.account(slot).clear();
    }

    fn account(&mut self, slot: Slot) -> &mut Account {
        let slot = slot as usize;
        if self.accounts.len() <= slot {
            self.accounts.resize_with(slot + 1, Account::default);
        }
        &mut self.accounts[slot]
    }

    fn book(&mut self, image: ImageId) -> &mut ImageBook {
        self.ensure_images(image.index() + 1);
        &mut self.images[image.index()]
    }
}

impl Account {
    fn clear(&mut self) {
        self.last = None;
        self.settled = None;
        self.fresh = false;
        self.departed = None;
        self.standings.clear();
    }

    /// The least that whoever absorbed this process has grown by.
    fn weight(&self) -> Counters {
        // One that is not read (any more) can carry more than its last reading.
        let offsets = self.standings.iter().map(|standing| standing.offset);
        offsets.fold(self.last.unwrap_or_default(), Counters::max)
    }

    /// Whether its growth is known: those that belong to no image are not read.
    fn is_read(&self) -> bool {
        self.last.is_some() && self.standings.iter().any(|standing| standing.member)
    }

    fn member(&mut self, image: ImageId) -> Option<&mut Standing> {
        self.standings.iter_mut().find(|standing| standing.image == image && standing.member)
    }

    /// The standing in an image, as no member if it is new.
    fn standing(&mut self, image: ImageId) -> &mut Standing {
        let found = self.standings.iter().position(|standing| standing.image == image);
        let at = found.unwrap_or_else(|| {
            // One is what most have.
            self.standings.reserve_exact(1);
            self.standings.push(Standing { image, member: false, offset: Counters::ZERO });
            self.standings.len() - 1
        });
        &mut self.standings[at]
    }
}

#[cfg(test)]
mod tests;
