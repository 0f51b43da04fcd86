//! What every implementation has to do.
#![allow(unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_antelope::{Id, Name, Slot};
use mainstay_relay::claims::{Answer, Bid, Claims, Key, MemoryClaims, Published, Uses};
use mainstay_relay::siblings::User;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

/// Whose slots they mostly are.
pub const PRODUCER: Name = Name(1 << 60);

/// A chain that nobody has used.
pub fn chain() -> Id {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut chain = [7; 32];
    chain[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    Id(chain)
}

/// An id with a number, told from others of that number by `mark`.
pub fn id(number: u32, mark: u8) -> Id {
    let mut id = [mark; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Id(id)
}

/// A bid of one producer for slot `slot`, for a block on a public parent.
pub fn bid(chain: Id, slot: u32, id: Id) -> Bid {
    Bid {
        key: Key { chain, producer: PRODUCER, slot: Slot(slot) },
        id,
        previous: Id([slot as u8; 32]),
        parent_public: true,
        may_win: true,
    }
}

/// Scenes, each on a chain of its own.
pub async fn holds(claims: &dyn Claims) {
    the_first_has_the_slot_and_who_comes_again_is_told_so(claims).await;
    nothing_at_or_below_the_last_published(claims).await;
    who_does_not_know_the_parent_needs_a_claim_of_it(claims).await;
    who_may_not_win_only_asks(claims).await;
    chains_and_producers_have_claims_of_their_own(claims).await;
    the_latest_is_told(claims).await;
    what_is_used_is_the_first_ones(claims).await;
}

async fn the_first_has_the_slot_and_who_comes_again_is_told_so(claims: &dyn Claims) {
    let chain = chain();
    let [first, second] = [bid(chain, 7, id(100, 1)), bid(chain, 7, id(100, 2))];
    assert_eq!(claims.claim(first).await, Ok(Answer::Granted));
    assert_eq!(claims.claim(first).await, Ok(Answer::Same));
    assert_eq!(claims.claim(second).await, Ok(Answer::Lost(Some(first.id))));
    // Nothing of the loser stays.
    assert_eq!(claims.claim(first).await, Ok(Answer::Same));
    let child = Bid { previous: second.id, parent_public: false, ..bid(chain, 8, id(101, 1)) };
    assert_eq!(claims.claim(child).await, Ok(Answer::Orphan));
}

async fn nothing_at_or_below_the_last_published(claims: &dyn Claims) {
    let chain = chain();
    // Numbers and slots with different digits: they are compared as such, and not as text.
    assert_eq!(claims.claim(bid(chain, 99, id(999, 1))).await, Ok(Answer::Granted));
    for (slot, number) in [(98, 1000), (100, 999), (100, 998), (9, 1000), (1000, 99), (98, 998)] {
        assert_eq!(claims.claim(bid(chain, slot, id(number, 2))).await, Ok(Answer::Lost(None)));
    }
    assert_eq!(claims.claim(bid(chain, 100, id(1000, 2))).await, Ok(Answer::Granted));
    // The highest there are.
    let end = bid(chain, u32::MAX, id(u32::MAX, 3));
    assert_eq!(claims.claim(end).await, Ok(Answer::Granted));
    assert_eq!(claims.claim(bid(chain, 1_000_000, id(1_000_000, 3))).await, Ok(Answer::Lost(None)));
    // What was claimed stays claimed.
    assert_eq!(claims.claim(bid(chain, 99, id(999, 1))).await, Ok(Answer::Same));
}

async fn who_does_not_know_the_parent_needs_a_claim_of_it(claims: &dyn Claims) {
    let chain = chain();
    let unsure = |slot, own, previous| Bid { previous, parent_public: false, ..bid(chain, slot, own) };
    assert_eq!(claims.claim(unsure(7, id(100, 1), id(99, 1))).await, Ok(Answer::Orphan));
    assert_eq!(claims.claim(bid(chain, 7, id(100, 1))).await, Ok(Answer::Granted));
    assert_eq!(claims.claim(unsure(8, id(101, 1), id(100, 1))).await, Ok(Answer::Granted));
    // Tainted goes before lost, but not before same.
    assert_eq!(claims.claim(unsure(8, id(101, 2), id(100, 2))).await, Ok(Answer::Orphan));
    assert_eq!(claims.claim(unsure(7, id(100, 1), id(99, 1))).await, Ok(Answer::Same));
    // A claim of another of our producers will do, one on another chain won't.
    let mut other = unsure(9, id(102, 1), id(101, 1));
    other.key.producer = Name(2 << 60);
    assert_eq!(claims.claim(other).await, Ok(Answer::Granted));
    let mut elsewhere = unsure(9, id(102, 1), id(101, 1));
    elsewhere.key.chain = self::chain();
    assert_eq!(claims.claim(elsewhere).await, Ok(Answer::Orphan));
}

async fn who_may_not_win_only_asks(claims: &dyn Claims) {
    let chain = chain();
    let asking = |slot, own| Bid { may_win: false, ..bid(chain, slot, own) };
    assert_eq!(claims.claim(asking(7, id(100, 1))).await, Ok(Answer::Lost(None)));
    assert_eq!(claims.claim(bid(chain, 7, id(100, 2))).await, Ok(Answer::Granted));
    assert_eq!(claims.claim(asking(7, id(100, 2))).await, Ok(Answer::Same));
    assert_eq!(claims.claim(asking(7, id(100, 1))).await, Ok(Answer::Lost(Some(id(100, 2)))));
    let orphan = Bid { parent_public: false, ..asking(8, id(101, 1)) };
    assert_eq!(claims.claim(orphan).await, Ok(Answer::Orphan));
}

async fn chains_and_producers_have_claims_of_their_own(claims: &dyn Claims) {
    let (one, other) = (chain(), chain());
    for (chain, producer) in [(one, 1 << 60), (one, 1), (other, 1 << 60)] {
        let at = |mark| Bid {
            key: Key { chain, producer: Name(producer), slot: Slot(7) },
            ..bid(chain, 7, id(100, mark))
        };
        assert_eq!(claims.claim(at(1)).await, Ok(Answer::Granted));
        assert_eq!(claims.claim(at(2)).await, Ok(Answer::Lost(Some(id(100, 1)))));
    }
}

async fn the_latest_is_told(claims: &dyn Claims) {
    let chain = chain();
    let producer = PRODUCER;
    assert_eq!(claims.latest(chain, producer).await, Ok(None));
    claims.claim(bid(chain, 7, id(100, 1))).await.unwrap();
    claims.claim(bid(chain, 9, id(103, 1))).await.unwrap();
    claims.claim(bid(chain, 8, id(104, 1))).await.unwrap();
    assert_eq!(claims.latest(chain, producer).await, Ok(Some(Published { number: 103, slot: Slot(9) })));
    assert_eq!(claims.latest(chain, Name(2 << 60)).await, Ok(None));
    assert_eq!(claims.latest(self::chain(), producer).await, Ok(None));
}

/// A relay that has written down so often what it uses.
pub fn user(id: &str, beat: u64) -> User {
    User { id: id.to_owned(), beat, name: format!("relay {id} on host") }
}

/// What a relay uses.
pub fn uses(chain: Id, user: &User, what: &[(Name, &str)]) -> Uses {
    let what = what.iter().map(|(producer, what)| (*producer, (*what).to_owned())).collect();
    Uses { chain, user: user.clone(), what }
}

async fn what_is_used_is_the_first_ones(claims: &dyn Claims) {
    let (chain, other) = (chain(), chain());
    let using = async |chain, user: &User, what: &[(Name, &str)]| {
        claims.using(uses(chain, user, what)).await.unwrap()
    };
    let (c, d, ipv6) = ((PRODUCER, "c:9876"), (PRODUCER, "d:9876"), (PRODUCER, "[2001:db8::1]:9876"));
    let (first, second) = (user("x", 1), user("y", 1));
    assert_eq!(using(chain, &first, &[]).await, []);
    assert_eq!(using(chain, &first, &[c, ipv6]).await, [None, None]);
    assert_eq!(using(chain, &second, &[d, c, ipv6]).await, [None, Some(first.clone()), Some(first.clone())]);
    // Who has it writes anew, and what it wrote last is told.
    let later = user("x", 2);
    assert_eq!(using(chain, &later, &[c, d]).await, [None, Some(second.clone())]);
    assert_eq!(using(chain, &second, &[c, d, ipv6]).await, [Some(later), None, Some(first.clone())]);
    // An id that another one begins with is another.
    assert_eq!(using(chain, &user("xx", 1), &[ipv6]).await, [Some(first)]);
    // Chains and producers have what is theirs.
    assert_eq!(using(other, &second, &[c]).await, [None]);
    assert_eq!(using(chain, &second, &[(Name(2 << 60), "c:9876")]).await, [None]);
}

/// Few slots, blocks and producers, so that they meet.
fn bids() -> impl Strategy<Value = Vec<Bid>> {
    let block = || (1_u32..12, 0_u8..2).prop_map(|(number, mark)| id(number * 5, mark));
    let one = (0_u64..2, 0_u32..12, block(), block(), any::<bool>(), prop::bool::weighted(0.8));
    let one = one.prop_map(|(producer, slot, id, previous, parent_public, may_win)| Bid {
        key: Key { chain: Id::ZERO, producer: Name(producer << 60 | 1), slot: Slot(slot * 7) },
        id,
        previous,
        parent_public,
        may_win,
    });
    prop::collection::vec(one, 1..60)
}

/// That `asked` answer random bids as the ledger does, whichever of them is asked. Blocks; not to be called by a worker of the runtime.
pub fn answers_as_the_ledger_does(handle: &Handle, asked: &[Arc<dyn Claims>], cases: u32) {
    // A case that failed once is the same one the next time.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new_with_rng(
        config.clone(),
        proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm),
    )
    .run(&bids(), |bids| {
        let (chain, model) = (chain(), MemoryClaims::default());
        handle.block_on(async {
            for (at, bid) in bids.iter().enumerate() {
                let bid = Bid { key: Key { chain, ..bid.key }, ..*bid };
                let claims = &asked[at % asked.len()];
                prop_assert_eq!(claims.claim(bid).await, Ok(model.bid(&bid)), "{:?}", bid);
                let producer = bid.key.producer;
                if at % 8 == 0 {
                    prop_assert_eq!(
                        claims.latest(chain, producer).await,
                        model.latest(chain, producer).await
                    );
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

/// Two relays bid for each of so many slots at the same time, for different blocks: one has it, and the other is told which.
pub async fn one_winner(one: Arc<dyn Claims>, other: Arc<dyn Claims>, slots: u32) {
    let chain = chain();
    let mut won = [0; 2];
    for slot in 1..=slots {
        // Now and then both have the same block.
        let marks = if slot % 5 == 0 { [1, 1] } else { [1, 2] };
        let [left, right] = marks.map(|mark| bid(chain, slot, id(slot, mark)));
        let ask = |claims: &Arc<dyn Claims>, bid| {
            let claims = Arc::clone(claims);
            tokio::spawn(async move { claims.claim(bid).await.unwrap() })
        };
        let asked = [ask(&one, left), ask(&other, right)];
        let [a, b] = asked;
        let answers = [a.await.unwrap(), b.await.unwrap()];
        let second =
            |winner: Id| if marks[0] == marks[1] { Answer::Same } else { Answer::Lost(Some(winner)) };
        match answers {
            [Answer::Granted, it] if it == second(left.id) => won[0] += 1,
            [it, Answer::Granted] if it == second(right.id) => won[1] += 1,
            _ => panic!("slot {slot}: {answers:?}"),
        }
    }
    println!("won: {won:?}");
}
