//! What a sentence says of entries that were not taken.
//!
//! ```text
//!   149 of 299 logs were accepted   a count of the taken, with the whole beside it
//!   149 logs were accepted          the same, below the number that was sent
//!   3 logs could not be parsed      a count of what was not taken
//! ```
//!
//! Promises: pure; clause by clause; a number counts entries only where nothing but a noun or an
//! auxiliary stands between it and its verb. Never: takes a time, an id or a status for a count.

use super::taken::{NotTaken, UNCOUNTED, worst};
use super::taken_words::{
    self as words, BUT, LABELS, PARTS, PHRASES, TOO, USED_UP, YES, ZERO, is_bad, is_good, is_link,
    is_negation, is_outcome,
};

type Clause = [String];

fn word(clause: &Clause, at: usize) -> &str {
    clause.get(at).map_or("", String::as_str)
}

/// What a sentence says of a batch of `sent` entries; 0: of how many is not known.
pub fn of_text(text: &str, sent: u64) -> Option<NotTaken> {
    let clauses = clauses(text);
    let said = clauses.iter().map(|clause| of_clause(clause, sent)).fold(None, worst);
    // "All but 3 were accepted."
    let but = clauses.windows(2).filter_map(|two| {
        let is_of_all = two[0].iter().any(|word| matches!(&**word, "all" | "every" | "everything"));
        let is_but = matches!(word(&two[1], 0), "but" | "except");
        let count = plain_number(word(&two[1], 1)).filter(|count| *count > 0)?;
        (is_of_all && is_but).then_some(NotTaken { count: Some(count) })
    });
    worst(said, but.fold(None, |one, other| worst(one, Some(other))))
}

/// "No errors" as the value of `errors`.
pub fn is_all_clear(text: &str) -> bool {
    clauses(text).iter().flatten().any(|word| ZERO.contains(&word.as_str()))
}

/// The value of a member that names what was taken: `149/299`, `149 of 299`, `some`.
pub fn of_taken_value(text: &str, sent: u64) -> Option<NotTaken> {
    let clauses = clauses(text);
    let clause = clauses.iter().find(|clause| !clause.is_empty())?;
    if PARTS.contains(&word(clause, 0)) {
        return UNCOUNTED;
    }
    counted(clause, 0).and_then(|counted| counted.below(sent))
}

/// Words and the signs that give a word a value, in clauses: `rejected`, `=`, `5`.
fn clauses(text: &str) -> Vec<Vec<String>> {
    let text: Vec<&str> = text.split_whitespace().filter(|word| !word.contains("://")).collect();
    let chars: Vec<char> = text.join(" ").to_lowercase().chars().collect();
    let mut clauses = vec![Vec::new()];
    let mut word = String::new();
    for (at, c) in chars.iter().copied().enumerate() {
        let is_digit =
            |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_ascii_digit());
        let within_number = is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
        match c {
            // Thousands.
            ',' if within_number => continue,
            '.' if within_number => word.push('.'),
            '\'' | '\u{2019}' => word.push('\''),
            c if c.is_alphanumeric() => word.push(c),
            _ => {
                end_word(&mut clauses, &mut word);
                match c {
                    ':' | '=' | '/' | '%' => push(&mut clauses, c.to_string()),
                    '.' | ',' | ';' | '!' | '?' | '(' | ')' | '|' => clauses.push(Vec::new()),
                    _ => {}
                }
            }
        }
    }
    end_word(&mut clauses, &mut word);
    clauses
}

fn end_word(clauses: &mut Vec<Vec<String>>, word: &mut String) {
    let word = std::mem::take(word);
    if word.is_empty() {
        return;
    }
    if BUT.contains(&word.as_str()) {
        clauses.push(Vec::new());
    }
    push(clauses, word);
}

fn push(clauses: &mut [Vec<String>], word: String) {
    clauses.last_mut().expect("there is always a clause").push(word);
}

fn of_clause(clause: &Clause, sent: u64) -> Option<NotTaken> {
    let said = (0..clause.len()).map(|at| of_word(clause, at, sent)).fold(None, worst);
    worst(said, bare_ratio(clause, sent))
}

fn of_word(clause: &Clause, at: usize, sent: u64) -> Option<NotTaken> {
    let here = word(clause, at);
    let next = word(clause, at + 1);
    let is_phrase =
        |phrase: &&&[&str]| phrase.iter().zip(at..).all(|(part, at)| word(clause, at) == *part);
    match here {
        bad if is_bad(bad) => of_bad(clause, at),
        good if is_good(good) => of_good(clause, at, sent),
        _ if PHRASES.iter().any(|phrase| is_phrase(&phrase)) => of_bad(clause, at),
        "too" if TOO.contains(&next) => of_bad(clause, at),
        "older" | "larger" | "longer" | "more" if next == "than" => match before(clause, at) {
            _ if negated(clause, at) => None,
            Much::None => None,
            Much::Some(count) => Some(NotTaken { count }),
            Much::Unsaid => UNCOUNTED,
        },
        "not" if next == "all" => UNCOUNTED,
        "limit" | "limits" | "quota" | "quotas" if is_used_up(clause) => of_bad(clause, at),
        _ if is_negation(here) && is_undone(clause, at) => of_not(clause, at),
        _ => None,
    }
}

/// Beside "limit": "reached", and not "not reached".
fn is_used_up(clause: &Clause) -> bool {
    let used = (0..clause.len()).filter(|at| USED_UP.contains(&word(clause, *at)));
    used.into_iter().any(|at| !negated(clause, at))
}

/// "could not be" and a participle, "could not" and a verb, "was not" and a known participle. What is named
/// by a word of its own outcome is left to that.
fn is_undone(clause: &Clause, at: usize) -> bool {
    let (here, before) = (word(clause, at), at.checked_sub(1).map_or("", |at| word(clause, at)));
    let is_could = here == "couldn't" || here == "not" && before == "could";
    let is_can = matches!(here, "cannot" | "cant" | "can't") || here == "not" && before == "can";
    let be = (at + 1..at + 3).find(|at| matches!(word(clause, *at), "be" | "been" | "get"));
    let verb = word(clause, be.unwrap_or(at) + 1);
    match be {
        _ if is_outcome(verb) || verb.is_empty() => false,
        Some(_) if is_could || is_can => words::is_participle(verb),
        None if is_could => true,
        _ => words::is_verb(verb),
    }
}

fn of_not(clause: &Clause, at: usize) -> Option<NotTaken> {
    match much(clause, at) {
        Much::None => None,
        Much::Some(count) => Some(NotTaken { count }),
        Much::Unsaid => UNCOUNTED,
    }
}

/// How much of what a word names there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Much {
    None,
    Some(Option<u64>),
    /// Nothing is said of how much.
    Unsaid,
}

fn of_bad(clause: &Clause, at: usize) -> Option<NotTaken> {
    let not = negated(clause, at) && !clause[..at].windows(2).any(|two| two == ["not", "all"]);
    match value_after(clause, at).unwrap_or_else(|| much(clause, at)) {
        Much::None => None,
        Much::Some(count) => Some(NotTaken { count }),
        Much::Unsaid if not => None,
        Much::Unsaid => UNCOUNTED,
    }
}

/// The number that belongs to a word: before it, or after it where the clause begins with an outcome.
fn much(clause: &Clause, at: usize) -> Much {
    let follows = numbers_follow(clause);
    match (follows, number_after(clause, at), before(clause, at)) {
        (true, after @ (Much::None | Much::Some(_)), _) => after,
        (_, _, before @ (Much::None | Much::Some(_))) => before,
        (_, after, _) => after,
    }
}

/// "accepted 300 rejected 0": each number stands after its word.
fn numbers_follow(clause: &Clause) -> bool {
    let outcome = clause.iter().position(|word| is_outcome(word) && !YES.contains(&&**word));
    let number = clause.iter().position(|word| amount(word).is_some());
    matches!((outcome, number), (Some(outcome), Some(number)) if outcome < number)
}

/// `rejected 5`, `rejected logs 5`; what else stands between is no zero.
fn number_after(clause: &Clause, at: usize) -> Much {
    let mut is_near = true;
    for here in at + 1..clause.len().min(at + 6) {
        let next = word(clause, here);
        match amount(next) {
            Some(Much::None) if !is_near => return Much::Unsaid,
            Some(much) => return much,
            None if is_outcome(next) || matches!(next, ":" | "=") => return Much::Unsaid,
            None => is_near &= is_link(next),
        }
    }
    Much::Unsaid
}

fn of_good(clause: &Clause, at: usize, sent: u64) -> Option<NotTaken> {
    let is_not = negated(clause, at);
    let near = before_near(clause, at);
    let counted = value_of(clause, at).or_else(|| tied_after(clause, at)).or(near);
    let said = value_after_near(clause, at);
    match (counted, said, before_word(clause, at)) {
        // None that was not accepted.
        (Some(Counted { number: 0, .. }), ..) if is_not => None,
        (Some(counted), ..) if is_not => Some(NotTaken { count: Some(counted.number) }),
        (Some(counted), ..) if YES.contains(&word(clause, at)) => counted.below_a_yes(sent),
        (Some(counted), ..) => counted.below(sent),
        (None, Some(Much::None), _) if is_not => None,
        (None, Some(Much::None), _) => UNCOUNTED,
        (None, Some(_), _) => None,
        (None, None, Much::None) if is_not => None,
        (None, None, Much::None) => UNCOUNTED,
        (None, None, _) if is_not => UNCOUNTED,
        (None, None, _) => is_part(clause, at).then_some(NotTaken { count: None }),
    }
}

/// A number of entries, and the whole where it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    number: u64,
    of: Option<u64>,
    is_percent: bool,
}

impl Counted {
    fn below(self, sent: u64) -> Option<NotTaken> {
        match (self.number, self.of) {
            (0, None) => UNCOUNTED,
            (number, None) if self.is_percent => {
                if number < 100 {
                    UNCOUNTED
                } else {
                    None
                }
            }
            (number, of) => {
                let missing = of.unwrap_or(sent).checked_sub(number).filter(|count| *count > 0);
                missing.map(|count| NotTaken { count: Some(count) })
            }
        }
    }

    /// Beside `ok` or `success`, 1 is a yes and 200 a status.
    fn below_a_yes(self, sent: u64) -> Option<NotTaken> {
        let is_yes = self.of.is_none() && matches!(self.number, 1 | 200..=299);
        if is_yes { None } else { self.below(sent) }
    }
}

/// The count at a place: `149`, `149/299`, `149 out of 299`, `50%`, and nothing else behind it.
fn counted(clause: &Clause, at: usize) -> Option<Counted> {
    let number = plain_number(word(clause, at))?;
    let (of, end) = match (word(clause, at + 1), word(clause, at + 2)) {
        ("/" | "of", whole) if plain_number(whole).is_some() => (plain_number(whole), at + 3),
        ("out", "of") => (plain_number(word(clause, at + 3)), at + 4),
        _ => (None, at + 1),
    };
    let is_percent = matches!(word(clause, end), "%" | "percent");
    let next = word(clause, end + usize::from(is_percent));
    let is_alone = next.is_empty()
        || is_link(next)
        || is_outcome(next)
        || matches!(next, "and" | "or" | "with" | "by" | "so");
    is_alone.then_some(Counted { number, of, is_percent })
}

/// `accepted: 149`.
fn value_of(clause: &Clause, at: usize) -> Option<Counted> {
    let sign = sign_after(clause, at)?;
    let between = clause[at + 1..sign].iter().all(|word| is_link(word));
    if clause.get(sign + 2).is_some_and(|next| is_outcome(next)) {
        return None;
    }
    counted(clause, sign + 1).filter(|_| between)
}

/// `accepted 149 logs`, `accepted only 149 of 299`.
fn tied_after(clause: &Clause, at: usize) -> Option<Counted> {
    let number = (at + 1..clause.len()).find(|at| !is_link(word(clause, *at)))?;
    let counted = counted(clause, number)?;
    let next = word(clause, number + 1);
    // "success 0 errors" tells of the errors; "processed 1 message" of a request.
    let is_next_alone = clause.get(number + 2).is_none_or(|next| amount(next).is_none());
    let is_of_another = is_outcome(next) && (is_next_alone || YES.contains(&word(clause, at)));
    (!is_of_another && !LABELS.contains(&next)).then_some(counted)
}

/// `149 logs were accepted`, `149 of 299 were accepted`; not "202 accepted" or "request 5 accepted".
fn before_near(clause: &Clause, at: usize) -> Option<Counted> {
    let is_between = |word: &str| {
        is_link(word) || matches!(word, "%" | "percent" | "not") || word.ends_with("n't")
    };
    let here = (0..at).rev().find(|at| !is_between(word(clause, *at)))?;
    let whole = plain_number(word(clause, here))?;
    let back = |by: usize| here.checked_sub(by).map_or("", |at| word(clause, at));
    let (number, of, first) = match (back(1), plain_number(back(2)), plain_number(back(3))) {
        ("/" | "of", Some(number), _) => (number, Some(whole), here - 2),
        ("of", None, Some(number)) if back(2) == "out" => (number, Some(whole), here - 3),
        _ => (whole, None, here),
    };
    let label =
        (0..first).rev().map(|at| word(clause, at)).find(|word| !matches!(*word, ":" | "="));
    let is_status = of.is_none() && here + 1 == at && matches!(number, 200..=204);
    let is_labelled = label.is_some_and(|label| LABELS.contains(&label));
    let is_of_another = label.is_some_and(|label| is_outcome(label) && !YES.contains(&label))
        && numbers_follow(clause);
    let is_percent = matches!(word(clause, here + 1), "%" | "percent");
    let is_count = !is_status && !is_labelled && !is_of_another;
    is_count.then_some(Counted { number, of, is_percent })
}

/// "Some logs were accepted."
fn is_part(clause: &Clause, at: usize) -> bool {
    let part = (0..at).rev().find(|at| !is_link(word(clause, *at)));
    part.is_some_and(|at| PARTS.contains(&word(clause, at)))
}

/// "149/300" and nothing else, where 300 were sent.
fn bare_ratio(clause: &Clause, sent: u64) -> Option<NotTaken> {
    let number = clause.iter().position(|word| plain_number(word).is_some())?;
    let counted = counted(clause, number).filter(|counted| counted.of == Some(sent))?;
    let end = number + if word(clause, number + 1) == "out" { 4 } else { 3 };
    let mut others = clause[..number].iter().chain(&clause[end..]);
    let is_plain = others.all(|word| is_link(word) || matches!(&**word, ":" | "="));
    if is_plain { counted.below(sent) } else { None }
}

/// Whether a negation stands before the word, with no other outcome in between.
fn negated(clause: &Clause, at: usize) -> bool {
    let back = clause[..at].iter().rev().take_while(|word| !is_outcome(word) && *word != ":");
    let mut back = back.filter(|word| *word != "nothing");
    back.any(|word| is_negation(word))
}

fn sign_after(clause: &Clause, at: usize) -> Option<usize> {
    let sign = (at + 1..clause.len().min(at + 4)).find(|at| matches!(&*clause[*at], ":" | "="))?;
    (!clause[at + 1..sign].iter().any(|word| is_outcome(word))).then_some(sign)
}

/// `failed: 0`, `failed records = 3`, `accepted: none`.
fn value_after(clause: &Clause, at: usize) -> Option<Much> {
    let sign = sign_after(clause, at)?;
    let value = clause.get(sign + 1)?.as_str();
    // `success: 0 errors` tells of the errors.
    if clause.get(sign + 2).is_some_and(|next| is_outcome(next)) {
        return None;
    }
    match value {
        "false" | "null" | "nil" => Some(Much::None),
        "true" => Some(Much::Some(None)),
        value => amount(value),
    }
}

/// The same in words alone, and only nouns in between: `accepted: none`, not "accepted at 00:00".
fn value_after_near(clause: &Clause, at: usize) -> Option<Much> {
    let sign = sign_after(clause, at)?;
    let is_near = clause[at + 1..sign].iter().all(|word| is_link(word));
    let is_number = plain_number(word(clause, sign + 1)).is_some();
    let next = word(clause, sign + 2);
    // "not accepted: no reason"
    let is_whole = next.is_empty() || next == "of" || is_link(next);
    value_after(clause, at).filter(|_| is_near && is_whole && !is_number)
}

/// `5 logs were rejected`, `none of them was dropped`: the nearest number or negation before it.
fn before(clause: &Clause, at: usize) -> Much {
    nearest(clause, at, amount)
}

/// "None was accepted": without figures.
fn before_word(clause: &Clause, at: usize) -> Much {
    nearest(clause, at, |word| amount(word).filter(|_| !word.starts_with(|c: char| c.is_numeric())))
}

fn nearest(clause: &Clause, at: usize, amount: impl Fn(&str) -> Option<Much>) -> Much {
    for here in (0..at).rev() {
        let word = clause[here].as_str();
        let is_list = |word: &str| matches!(word, "and" | "or");
        match word {
            ":" | "=" => return Much::Unsaid,
            // "failed or dropped" share their number; "300 accepted 5 rejected" do not.
            word if is_outcome(word) && !clause.get(here + 1).is_some_and(|next| is_list(next)) => {
                return Much::Unsaid;
            }
            word => match amount(word) {
                None => {}
                // "0 of 300", "0/300": the first of the two.
                Some(_) if here >= 2 && matches!(&*clause[here - 1], "of" | "/") => {}
                Some(much) => return much,
            },
        }
    }
    Much::Unsaid
}

fn plain_number(word: &str) -> Option<u64> {
    if word.starts_with(|c: char| c.is_ascii_digit()) { word.parse().ok() } else { None }
}

fn amount(word: &str) -> Option<Much> {
    if ZERO.contains(&word) {
        return Some(Much::None);
    }
    let number: f64 =
        word.parse().ok().filter(|_| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(match number {
        0.0 => Much::None,
        _ => Much::Some(word.parse().ok()),
    })
}
