//! One page: which rows it holds, in which order, and the cursor to the next.
//!
//! Promises: filters, sort and limit come from the query of this very request, the cursor holds
//! only the place of the last row, as the keyset cursors that were seen do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::query::{Filter, Order, Query, Refused, Sort};
use crate::support::data::{Draft, Kind};

/// One record as the tenant shows it now.
pub struct Row {
    pub draft: Draft,
    pub bytes: Arc<[u8]>,
    /// Dated already, but not shown before this.
    pub visible_at: Option<Instant>,
}

impl Row {
    fn key(&self, sort: Sort) -> i64 {
        match sort {
            Sort::Id => i64::try_from(self.draft.id).unwrap(),
            Sort::Created if self.draft.kind == Kind::Alerts => self.draft.created_us - 5_000_000,
            Sort::Created | Sort::Reported => self.draft.created_us,
            Sort::Updated => self.draft.updated_us,
        }
    }

    /// What a page is sorted by, and its cursor holds.
    fn place(&self, query: &Query) -> i64 {
        match query.order {
            // The low bits of an id say nothing of its time.
            Order::Shuffled => i64::from((self.draft.id as u32).wrapping_mul(0x9e37_79b9)),
            _ => self.key(query.sort),
        }
    }

    fn passes(&self, query: &Query, now: Instant) -> bool {
        let passes = |filter: &Filter| filter.passes(self.key(filter.on));
        self.visible_at.is_none_or(|at| at <= now)
            && query.filters.iter().all(passes)
            && (query.ids.is_empty() || query.ids.contains(&self.draft.id))
    }
}

/// All records of one list.
pub struct Table {
    kind: Kind,
    pub rows: Vec<Row>,
    /// In the order of the stream's position, so that a page costs its own rows only.
    by_position: BTreeMap<(i64, u64), usize>,
    by_id: BTreeMap<u64, usize>,
}

/// The rows of a page and what stands after them.
pub struct Picked<'a> {
    pub rows: Vec<&'a Row>,
    pub next_cursor: Option<String>,
    pub total: usize,
}

impl Table {
    pub fn new(kind: Kind) -> Table {
        Table { kind, rows: Vec::new(), by_position: BTreeMap::new(), by_id: BTreeMap::new() }
    }

    fn position_sort(&self) -> Sort {
        match self.kind {
            Kind::Threats => Sort::Updated,
            Kind::Activities => Sort::Created,
            Kind::Alerts => Sort::Reported,
        }
    }

    pub fn insert(&mut self, row: Row) {
        let index = self.rows.len();
        self.by_position.insert((row.draft.position_us(), row.draft.id), index);
        let twin = self.by_id.insert(row.draft.id, index);
        assert!(twin.is_none(), "two records of a test have the same id");
        self.rows.push(row);
    }

    /// What was created before this is deleted, as by a retention.
    pub fn expire(&mut self, before_us: i64) {
        let old = std::mem::replace(self, Table::new(self.kind));
        let kept = old.rows.into_iter().filter(|row| row.draft.created_us >= before_us);
        kept.for_each(|row| self.insert(row));
    }

    pub fn row_of(&self, id: u64) -> Option<&Row> {
        self.by_id.get(&id).map(|index| &self.rows[*index])
    }

    /// Puts a new version in the place of a row.
    pub fn replace(&mut self, draft: Draft, bytes: Arc<[u8]>) {
        let index = *self.by_id.get(&draft.id).expect("only rows that exist are changed");
        let old = &self.rows[index];
        self.by_position.remove(&(old.draft.position_us(), old.draft.id));
        self.by_position.insert((draft.position_us(), draft.id), index);
        let visible_at = old.visible_at;
        self.rows[index] = Row { draft, bytes, visible_at };
    }

    pub fn pick(&self, query: &Query) -> Result<Picked<'_>, Refused> {
        let now = Instant::now();
        let after = match &query.cursor {
            Some(text) => Some(read_cursor(text, query)?),
            None => None,
        };
        let mut rows = if query.sort == self.position_sort() && query.order == Order::Ascending {
            self.in_position_order(query, after, now)
        } else {
            self.in_any_order(query, after, now)
        };
        let more = rows.len() > query.limit;
        rows.truncate(query.limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| write_cursor(row, query));
        let total = if query.skip_count {
            0
        } else {
            self.rows.iter().filter(|row| row.passes(query, now)).count()
        };
        Ok(Picked { rows, next_cursor, total })
    }

    fn in_position_order(
        &self,
        query: &Query,
        after: Option<(i64, u64)>,
        now: Instant,
    ) -> Vec<&Row> {
        let floor = query
            .filters
            .iter()
            .filter(|filter| filter.on == query.sort && !filter.passes(i64::MIN))
            .map(|filter| filter.us)
            .max();
        let from = (floor.unwrap_or(i64::MIN), 0).max(after.unwrap_or((i64::MIN, 0)));
        self.by_position
            .range(from..)
            .filter(|(key, _)| after.is_none_or(|after| **key > after))
            .map(|(_, index)| &self.rows[*index])
            .filter(|row| row.passes(query, now))
            .skip(query.skip)
            .take(query.limit + 1)
            .collect()
    }

    fn in_any_order(&self, query: &Query, after: Option<(i64, u64)>, now: Instant) -> Vec<&Row> {
        let key = |row: &Row| (row.place(query), row.draft.id);
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.passes(query, now)).collect();
        rows.sort_by_key(|row| key(row));
        if query.order == Order::Descending {
            rows.reverse();
        }
        let passed = |row: &Row| match (after, query.order) {
            (None, _) => true,
            (Some(after), Order::Descending) => key(row) < after,
            (Some(after), _) => key(row) > after,
        };
        rows.into_iter().filter(|row| passed(row)).skip(query.skip).take(query.limit + 1).collect()
    }
}

/// Base64 of a JSON keyset, its padding percent-encoded already, as it comes from the real API.
fn write_cursor(row: &Row, query: &Query) -> String {
    let order = query.order.name();
    let view = match row.draft.kind {
        Kind::Threats => "ThreatView",
        Kind::Activities => "Activity",
        Kind::Alerts => "AlertView",
    };
    let keyset = json!({
        "id_column": format!("{view}.id"),
        "id_value": row.draft.id,
        "id_sort_order": order,
        "sort_by_column": format!("{view}.{}", query.sort.column()),
        "sort_by_value": row.place(query),
        "sort_order": order,
    });
    STANDARD.encode(keyset.to_string()).replace('=', "%3D")
}

/// Takes a cursor as it was given out and one that a query encoder has encoded once more.
fn read_cursor(text: &str, query: &Query) -> Result<(i64, u64), Refused> {
    let plain = text.replace("%3D", "=").replace("%3d", "=");
    let read = || -> Option<(i64, u64)> {
        let keyset: Value = serde_json::from_slice(&STANDARD.decode(plain).ok()?).ok()?;
        let column = keyset.get("sort_by_column")?.as_str()?.split_once('.')?.1;
        let value = keyset.get("sort_by_value")?.as_i64()?;
        let id = keyset.get("id_value")?.as_u64()?;
        let order = keyset.get("sort_order")?.as_str()?;
        (column == query.sort.column() && order == query.order.name()).then_some((value, id))
    };
    read().ok_or_else(Refused::cursor)
}
