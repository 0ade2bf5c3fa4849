use super::*;

const FAILED: Outcome = Outcome::Failed { pause: None };

fn outputs(hook: &mut Hook) -> Vec<Output> {
    std::iter::from_fn(|| hook.poll_output()).collect()
}

/// A hook that has read this, from its beginning.
fn reading(now: Instant, found: &[(u64, bool)]) -> Hook {
    let mut hook = Hook::new(now, 0);
    assert_eq!(outputs(&mut hook), [Output::Read { after: 0 }]);
    hook.handle(now, Input::Read(found.to_vec()));
    hook
}

fn answer(hook: &mut Hook, now: Instant, outcome: Outcome) -> Vec<Output> {
    hook.handle(now, Input::Answered(outcome));
    outputs(hook)
}

#[test]
fn one_is_under_way_at_a_time_and_in_order() {
    let now = Instant::now();
    let mut hook = reading(now, &[(1, true), (2, false), (3, true)]);
    assert_eq!(outputs(&mut hook), [Output::Post(Post::Event(1))]);
    // Nothing more comes of it, whatever else happens.
    hook.handle(now, Input::More);
    hook.handle(now, Input::Read(vec![(9, true)]));
    hook.handle_timeout(now + Duration::from_secs(9));
    assert_eq!((outputs(&mut hook), hook.poll_timeout()), (vec![], None));
    let next = answer(&mut hook, now, Outcome::Taken);
    assert_eq!(next, [Output::Keep { done: 1 }, Output::Post(Post::Event(3))]);
    let next = answer(&mut hook, now, Outcome::Taken);
    assert_eq!(next, [Output::Keep { done: 3 }, Output::Read { after: 3 }]);
    hook.handle(now, Input::Read(vec![]));
    assert_eq!(outputs(&mut hook), []);
    hook.handle(now, Input::More);
    assert_eq!(outputs(&mut hook), [Output::Read { after: 3 }]);
    // What comes while it is read is read too.
    hook.handle(now, Input::More);
    hook.handle(now, Input::Read(vec![]));
    assert_eq!(outputs(&mut hook), [Output::Read { after: 3 }]);
}

#[test]
fn what_fails_is_told_again_after_pauses_that_grow() {
    let start = Instant::now();
    let mut now = start;
    let mut hook = reading(now, &[(1, true)]);
    outputs(&mut hook);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(answer(&mut hook, now, FAILED), []);
        let (until, Reason::Again) = hook.poll_timeout().unwrap();
        hook.handle_timeout(until - Duration::from_millis(1));
        assert_eq!(outputs(&mut hook), [], "early");
        pauses.push((until - now).as_secs());
        now = until;
        hook.handle_timeout(now);
        assert_eq!(outputs(&mut hook), [Output::Post(Post::Event(1))]);
        assert_eq!(hook.failing_since(), Some(start));
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    answer(&mut hook, now, Outcome::Taken);
    assert_eq!((hook.done(), hook.failing_since()), (1, None));
    // They begin anew.
    hook.handle(now, Input::Read(vec![(2, true)]));
    answer(&mut hook, now, FAILED);
    assert_eq!(hook.poll_timeout(), Some((now + Duration::from_secs(5), Reason::Again)));
}

#[test]
fn a_pause_that_is_asked_for_is_heeded_within_reason() {
    for (asked, expected) in [(1, 5), (60, 60), (86_400, 3600)] {
        let now = Instant::now();
        let mut hook = reading(now, &[(1, true)]);
        let pause = Some(Duration::from_secs(asked));
        hook.handle(now, Input::Answered(Outcome::Failed { pause }));
        let until = now + Duration::from_secs(expected);
        assert_eq!(hook.poll_timeout(), Some((until, Reason::Again)), "{asked}");
    }
}

#[test]
fn what_is_refused_three_times_is_given_up() {
    let mut now = Instant::now();
    let mut hook = reading(now, &[(1, true), (2, true)]);
    outputs(&mut hook);
    // Others count for nothing.
    for outcome in [Outcome::Refused, FAILED, Outcome::Refused, FAILED] {
        assert_eq!(answer(&mut hook, now, outcome), []);
        now = hook.poll_timeout().unwrap().0;
        hook.handle_timeout(now);
        assert_eq!(outputs(&mut hook), [Output::Post(Post::Event(1))]);
    }
    let next = answer(&mut hook, now, Outcome::Refused);
    let post = Post::Event(1);
    assert_eq!(
        next,
        [
            Output::GivenUp(post),
            Output::Keep { done: 1 },
            Output::Post(Post::Event(2))
        ]
    );
    assert!(
        hook.failing_since().is_some_and(|since| since < now),
        "it has taken nothing yet"
    );
    assert_eq!(answer(&mut hook, now, Outcome::Refused), [], "the next has its own");
    now = hook.poll_timeout().unwrap().0;
    hook.handle_timeout(now);
    outputs(&mut hook);
    answer(&mut hook, now, Outcome::Taken);
    assert_eq!(hook.failing_since(), None);
}

#[test]
fn a_hook_that_is_gone_is_asked_no_more() {
    let now = Instant::now();
    let mut hook = reading(now, &[(1, true), (2, true)]);
    outputs(&mut hook);
    assert_eq!(answer(&mut hook, now, Outcome::Gone), []);
    hook.handle(now, Input::More);
    hook.handle_timeout(now + Duration::from_secs(1 << 20));
    assert!(hook.is_over() && hook.poll_output().is_none() && hook.poll_timeout().is_none());
    assert_eq!(hook.done(), 0, "the next start asks again");
}

#[test]
fn what_is_gone_from_the_journal_is_told_as_a_gap() {
    let now = Instant::now();
    let mut hook = reading(now, &[(5, false), (6, true), (9, true)]);
    assert_eq!(outputs(&mut hook), [Output::Post(Post::Gap { from: 1, to: 4 })]);
    let next = answer(&mut hook, now, Outcome::Taken);
    assert_eq!(next, [Output::Keep { done: 4 }, Output::Post(Post::Event(6))]);
    let next = answer(&mut hook, now, Outcome::Taken);
    assert_eq!(
        next,
        [Output::Keep { done: 6 }, Output::Post(Post::Gap { from: 7, to: 8 })]
    );
    answer(&mut hook, now, Outcome::Taken);
    // And what goes while it is to be told.
    hook.handle(now, Input::Missing);
    assert_eq!(outputs(&mut hook), [Output::Read { after: 8 }]);
    hook.handle(now, Input::Read(vec![(12, true)]));
    assert_eq!(outputs(&mut hook), [Output::Post(Post::Gap { from: 9, to: 11 })]);
}

#[test]
fn a_place_is_kept_now_and_then_while_all_is_passed_over() {
    let start = Instant::now();
    let mut hook = reading(start, &[(1, false)]);
    assert_eq!(outputs(&mut hook), [Output::Read { after: 1 }]);
    let later = start + PLACE_AGE_MAX;
    hook.handle(later, Input::Read(vec![(2, false)]));
    assert_eq!(
        outputs(&mut hook),
        [Output::Keep { done: 2 }, Output::Read { after: 2 }]
    );
    hook.handle(
        later,
        Input::Read((3..2 + PASSED_OVER_MAX).map(|it| (it, false)).collect()),
    );
    assert_eq!(
        outputs(&mut hook),
        [Output::Read {
            after: 1 + PASSED_OVER_MAX
        }]
    );
    hook.handle(later, Input::Read(vec![(2 + PASSED_OVER_MAX, false)]));
    let done = 2 + PASSED_OVER_MAX;
    assert_eq!(
        outputs(&mut hook),
        [Output::Keep { done }, Output::Read { after: done }]
    );
}

fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Everything that is wanted is told, in order, until it is taken or given up; what was taken comes again only after a
/// crash, and then from a place that was kept.
#[test]
fn nothing_is_lost_over_failures_and_crashes() {
    for seed in 1..300_u64 {
        let random = &mut seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut now = Instant::now();
        let (mut journal, mut trimmed) = (0_u64, 0_u64);
        let wanted = |number: u64| !number.is_multiple_of(3);
        let (mut hook, mut kept) = (Hook::new(now, 0), 0);
        let mut last = 0;
        let mut settled = std::collections::BTreeSet::new();
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: it does not end");
            let calm = steps > 400;
            if !calm && next_random(random).is_multiple_of(5) {
                journal += next_random(random) % 4;
                trimmed = trimmed.max(journal.saturating_sub(20));
                hook.handle(now, Input::More);
            }
            if !calm && next_random(random).is_multiple_of(40) {
                hook = Hook::new(now, kept);
                last = kept;
            }
            match hook.poll_output() {
                Some(Output::Read { after }) => {
                    let first = after.max(trimmed) + 1;
                    let page = (first..=journal).take(3).map(|number| (number, wanted(number)));
                    hook.handle(now, Input::Read(page.collect()));
                }
                Some(Output::Post(post)) => {
                    let (from, to) = match post {
                        Post::Event(number) => (number, number),
                        Post::Gap { from, to } => (from, to),
                    };
                    assert!(from > last, "seed {seed}: {post:?} after {last}");
                    assert!(
                        (last + 1..from).all(|between| !wanted(between)),
                        "seed {seed}: left out before {post:?}"
                    );
                    if matches!(post, Post::Event(number) if number <= trimmed) {
                        hook.handle(now, Input::Missing);
                        continue;
                    }
                    let outcome = match next_random(random) % 6 {
                        0 if !calm => Outcome::Refused,
                        1 if !calm => FAILED,
                        _ => Outcome::Taken,
                    };
                    if outcome == Outcome::Taken {
                        settled.extend(from..=to);
                        last = to;
                    }
                    hook.handle(now, Input::Answered(outcome));
                }
                Some(Output::GivenUp(Post::Event(number))) => {
                    settled.insert(number);
                    last = number;
                }
                Some(Output::GivenUp(Post::Gap { from, to })) => {
                    settled.extend(from..=to);
                    last = to;
                }
                // Now and then a crash takes it along.
                Some(Output::Keep { done }) if calm || !next_random(random).is_multiple_of(3) => kept = done,
                Some(Output::Keep { .. }) => {}
                None => match hook.poll_timeout() {
                    Some((until, Reason::Again)) => {
                        now = until;
                        hook.handle_timeout(now);
                    }
                    None if calm => break,
                    None => {}
                },
            }
        }
        let missing: Vec<u64> = (1..=journal)
            .filter(|number| wanted(*number) && !settled.contains(number))
            .collect();
        assert_eq!(missing, [0; 0], "seed {seed}");
    }
}
