#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::type_complexity)] // some point in time; tables

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn finding(letter: char) -> Finding {
    match letter {
        'g' => Finding::good("well"),
        's' => Finding::soft("few"),
        'h' => Finding::hard("bad"),
        _ => Finding::gone("refused"),
    }
}

/// Runs rounds, a letter each, and draws the condition after each: G holds, S H X fails so.
fn run(rise: u32, fall: u32, rounds: &str) -> String {
    let start = Instant::now();
    let mut check = Check::new(Rules { rise, fall }, start);
    let mut drawn = String::new();
    for (i, letter) in rounds.chars().enumerate() {
        check.observe(finding(letter), start + Duration::from_secs(i as u64));
        drawn.push(match check.condition().verdict() {
            Verdict::Good => 'G',
            Verdict::Soft => 'S',
            Verdict::Hard => 'H',
            Verdict::Gone => 'X',
        });
    }
    drawn
}

#[test]
fn rounds_and_what_becomes_of_them() {
    for (rise, fall, rounds, drawn) in [
        // The first round decides.
        (2, 3, "g", "G"),
        (2, 3, "h", "H"),
        (2, 3, "s", "S"),
        // The fall-th in a row, the rise-th in a row.
        (2, 1, "ghgg", "GHHG"),
        (2, 3, "ghhghhhgghg", "GGGGGGHHGGG"),
        (3, 1, "ggshgghggg", "GGSHHHHHHG"),
        // Nobody there needs no second look.
        (2, 3, "gxgg", "GXXG"),
        // How bad it is follows the latest bad round.
        (2, 1, "gshsxs", "GSHSXS"),
        // A good round in between starts anew, and doesn't change how bad it is.
        (2, 1, "ghgsgg", "GHHSSG"),
    ] {
        assert_eq!(run(rise, fall, rounds), drawn, "rise {rise}, fall {fall}: {rounds}");
    }
}

#[test]
fn a_flip_is_told_once_with_what_was_seen() {
    let now = Instant::now();
    let mut check = Check::new(Rules { rise: 2, fall: 2 }, now);
    assert_eq!(check.condition().verdict(), Verdict::Hard, "not yet checked is unfit");
    let tell = |check: &mut Check, letter| check.observe(finding(letter), now);
    assert_eq!(tell(&mut check, 'g'), Some(Flip { holds: true, saw: "well".to_owned() }));
    assert_eq!(tell(&mut check, 'g'), None);
    assert_eq!(tell(&mut check, 's'), None);
    assert_eq!(tell(&mut check, 'h'), Some(Flip { holds: false, saw: "bad".to_owned() }));
    assert_eq!(tell(&mut check, 's'), None);
    assert_eq!(check.last(), Some(&Finding::soft("few")));
    assert_eq!(tell(&mut check, 'g'), None);
    assert_eq!(tell(&mut check, 'g'), Some(Flip { holds: true, saw: "well".to_owned() }));
}

proptest! {
    /// A plain model: it holds if the last `rise` rounds since it failed were good, and fails if the last `fall` were bad.
    #[test]
    fn flips_no_faster_than_allowed_and_converges(
        rise in 1_u32..4,
        fall in 1_u32..4,
        rounds in proptest::collection::vec(prop_oneof![Just('g'), Just('s'), Just('h'), Just('x')], 1..60),
    ) {
        let start = Instant::now();
        let mut check = Check::new(Rules { rise, fall }, start);
        let mut row = (true, 0_u32);
        let mut held = None;
        for (i, letter) in rounds.iter().enumerate() {
            let now = start + Duration::from_secs(i as u64);
            let flip = check.observe(finding(*letter), now);
            let good = *letter == 'g';
            row = if row.0 == good { (good, row.1 + 1) } else { (good, 1) };
            let holds = *check.condition() == Condition::Holds;
            prop_assert_eq!(flip.is_some(), held != Some(holds));
            if flip.is_some() {
                prop_assert_eq!(check.since(), now);
                let needed = match held {
                    None => 1,
                    Some(_) if good => rise,
                    Some(_) if *letter == 'x' => 1,
                    Some(_) => fall,
                };
                prop_assert!(row.1 >= needed, "flipped after {} of {needed}", row.1);
                prop_assert_eq!(holds, good);
            }
            // Enough of one kind always tells.
            if row.1 >= rise.max(fall) {
                prop_assert_eq!(holds, good);
            }
            held = Some(holds);
        }
    }
}
