//! Items in one growing block of memory, each a member of two doubly linked lists at once.
//!
//! What the queue needs: an item is found, taken out of the middle of its lane and forgotten by its deadline
//! without looking at any other, and nothing is allocated for it once the block has grown.

/// No cell.
const NIL: u32 = u32::MAX;
/// Most cells kept for the next burst once all items are gone.
const KEPT: usize = 16_384;

/// Where an item is, as long as it is there. Its stamp is never used again, so a stale place finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    at: u32,
    stamp: u64,
}

/// One of the two lists that every item can be a member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Order within a lane.
    Order = 0,
    /// Order by deadline.
    Deadline = 1,
}

/// The ends of a list; the links are in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    first: u32,
    last: u32,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: NIL, last: NIL }
    }
}

impl Ends {
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NIL
    }
}

/// On which side of another item one is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

const UNLINKED: Link = Link { before: NIL, after: NIL };

#[derive(Debug)]
struct Cell<T> {
    stamp: u64,
    links: [Link; 2],
    item: Option<T>,
}

/// The block.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    cells: Vec<Cell<T>>,
    /// The first of the empty cells, which are linked by `after` of the first list.
    free: u32,
    len: usize,
    stamps: u64,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { cells: Vec::new(), free: NIL, len: 0, stamps: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes an item in; it is in no list yet. The caller sees to it that there are fewer than 2³² items.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn insert(&mut self, item: T) -> Place {
        self.len += 1;
        self.stamps += 1;
        let stamp = self.stamps;
        if let Some(cell) = self.cells.get_mut(self.free as usize) {
            let at = self.free;
            self.free = cell.links[0].after;
            *cell = Cell { stamp, links: [UNLINKED; 2], item: Some(item) };
            return Place { at, stamp };
        }
        let at = self.cells.len() as u32;
        self.cells.push(Cell { stamp, links: [UNLINKED; 2], item: Some(item) });
        Place { at, stamp }
    }

    /// Takes an item out; the caller has unlinked it from its lists.
    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let free = self.free;
        let cell = self.cell_mut(place)?;
        let item = cell.item.take()?;
        cell.stamp = 0;
        cell.links[0].after = free;
        self.free = place.at;
        self.len -= 1;
        if self.len == 0 && self.cells.len() > KEPT {
            self.cells = Vec::new();
            self.free = NIL;
        }
        Some(item)
    }

    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        let cell = self.cells.get(place.at as usize)?;
        if cell.stamp == place.stamp { cell.item.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.cell_mut(place)?.item.as_mut()
    }

    fn cell_mut(&mut self, place: Place) -> Option<&mut Cell<T>> {
        self.cells.get_mut(place.at as usize).filter(|cell| cell.stamp == place.stamp)
    }

    pub(crate) fn first(&self, ends: &Ends) -> Option<Place> {
        self.place(ends.first)
    }

    pub(crate) fn last(&self, ends: &Ends) -> Option<Place> {
        self.place(ends.last)
    }

    /// The neighbour of an item in a list.
    pub(crate) fn beside(&self, chain: Chain, place: Place, side: Side) -> Option<Place> {
        let link = self.cells.get(place.at as usize)?.links[chain as usize];
        self.place(if side == Side::Before { link.before } else { link.after })
    }

    fn place(&self, at: u32) -> Option<Place> {
        let cell = self.cells.get(at as usize)?;
        Some(Place { at, stamp: cell.stamp })
    }

    /// Puts an item at the end of a list.
    pub(crate) fn push_back(&mut self, chain: Chain, ends: &mut Ends, place: Place) {
        self.link(chain, ends, place, ends.last, NIL);
    }

    /// Puts an item beside another that is in the list.
    pub(crate) fn put(&mut self, chain: Chain, ends: &mut Ends, place: Place, side: Side, other: Place) {
        let link = self.cells[other.at as usize].links[chain as usize];
        match side {
            Side::Before => self.link(chain, ends, place, link.before, other.at),
            Side::After => self.link(chain, ends, place, other.at, link.after),
        }
    }

    fn link(&mut self, chain: Chain, ends: &mut Ends, place: Place, before: u32, after: u32) {
        self.cells[place.at as usize].links[chain as usize] = Link { before, after };
        self.join(chain, ends, before, place.at);
        self.join(chain, ends, place.at, after);
    }

    /// Takes an item out of a list that it is in.
    pub(crate) fn unlink(&mut self, chain: Chain, ends: &mut Ends, place: Place) {
        let link = &mut self.cells[place.at as usize].links[chain as usize];
        let Link { before, after } = std::mem::replace(link, UNLINKED);
        self.join(chain, ends, before, after);
    }

    /// Makes two cells neighbours; an end of the list where one is none.
    fn join(&mut self, chain: Chain, ends: &mut Ends, before: u32, after: u32) {
        match self.cells.get_mut(before as usize) {
            Some(cell) => cell.links[chain as usize].after = after,
            None => ends.first = after,
        }
        match self.cells.get_mut(after as usize) {
            Some(cell) => cell.links[chain as usize].before = before,
            None => ends.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn listed(arena: &Arena<u32>, chain: Chain, ends: &Ends) -> Vec<u32> {
        let forward: Vec<Place> =
            std::iter::successors(arena.first(ends), |place| arena.beside(chain, *place, Side::After))
                .collect();
        let mut back: Vec<Place> =
            std::iter::successors(arena.last(ends), |place| arena.beside(chain, *place, Side::Before))
                .collect();
        back.reverse();
        assert_eq!(forward, back);
        forward.iter().map(|place| *arena.get(*place).unwrap()).collect()
    }

    #[test]
    fn a_stale_place_finds_nothing() {
        let mut arena = Arena::new();
        let first = arena.insert(1);
        assert_eq!(arena.remove(first), Some(1));
        let second = arena.insert(2);
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.remove(second), Some(2));
        assert_eq!(arena.len(), 0);
    }

    #[test]
    fn a_large_block_is_given_back_when_empty_and_old_places_stay_stale() {
        let mut arena = Arena::new();
        let places: Vec<Place> = (0..KEPT + 1).map(|n| arena.insert(n)).collect();
        for place in &places {
            assert!(arena.remove(*place).is_some());
        }
        assert_eq!(arena.cells.capacity(), 0);
        arena.insert(7);
        assert!(places.iter().all(|place| arena.get(*place).is_none()));
    }

    proptest! {
        #[test]
        fn two_lists_stay_in_order(steps in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..200)) {
            let mut arena = Arena::new();
            let mut ends = [Ends::default(); 2];
            let mut model: [Vec<(Place, u32)>; 2] = [Vec::new(), Vec::new()];
            for (n, (step, which)) in (0u32..).zip(steps) {
                if step == 0 && !model[0].is_empty() {
                    let (place, number) = *which.get(&model[0]);
                    for chain in [Chain::Order, Chain::Deadline] {
                        arena.unlink(chain, &mut ends[chain as usize], place);
                        model[chain as usize].retain(|(other, _)| *other != place);
                    }
                    prop_assert_eq!(arena.remove(place), Some(number));
                } else {
                    let place = arena.insert(n);
                    for chain in [Chain::Order, Chain::Deadline] {
                        let list = &mut model[chain as usize];
                        let ends = &mut ends[chain as usize];
                        if list.is_empty() || step == 1 {
                            arena.push_back(chain, ends, place);
                            list.push((place, n));
                        } else {
                            let at = which.index(list.len());
                            let side = if step == 2 { Side::Before } else { Side::After };
                            arena.put(chain, ends, place, side, list[at].0);
                            list.insert(at + usize::from(side == Side::After), (place, n));
                        }
                    }
                }
                for chain in [Chain::Order, Chain::Deadline] {
                    let wanted: Vec<u32> = model[chain as usize].iter().map(|(_, n)| *n).collect();
                    prop_assert_eq!(listed(&arena, chain, &ends[chain as usize]), wanted);
                }
                prop_assert_eq!(arena.len(), model[0].len());
            }
        }
    }
}
