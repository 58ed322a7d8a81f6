//! The query of a list request: which parameters there are, and what each must look like.
//!
//! Promises: an unknown parameter, an unknown sort and a limit out of range are refused with 400,
//! as the real API does.

use percent_encoding::percent_decode_str;

use super::lie::Asked;
use crate::support::clock::read_query_time;
use crate::support::data::Kind;
use crate::support::fault::error_body;

/// What a list request asks for.
#[derive(Clone, Debug)]
pub struct Query {
    pub limit: usize,
    pub skip: usize,
    pub cursor: Option<String>,
    pub count_only: bool,
    pub skip_count: bool,
    pub sort: Sort,
    pub order: Order,
    pub filters: Vec<Filter>,
    pub ids: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Id,
    Created,
    Updated,
    Reported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
    /// Neither, though always the same.
    Shuffled,
}

#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub on: Sort,
    pub relation: Relation,
    pub us: i64,
}

#[derive(Clone, Copy, Debug)]
pub enum Relation {
    Below,
    UpTo,
    Above,
    From,
}

impl Filter {
    pub fn passes(&self, us: i64) -> bool {
        match self.relation {
            Relation::Below => us < self.us,
            Relation::UpTo => us <= self.us,
            Relation::Above => us > self.us,
            Relation::From => us >= self.us,
        }
    }
}

/// The body of a 400.
pub struct Refused(pub String);

impl Refused {
    fn validation(detail: &str) -> Refused {
        let detail = serde_json::to_string(detail).unwrap();
        Refused(error_body(4_000_010, "Validation Error", &detail))
    }

    pub fn cursor() -> Refused {
        Refused::validation("Invalid cursor value received")
    }
}

pub fn decode_pairs(query: &str) -> Vec<(String, String)> {
    let decode =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

impl Order {
    /// As a cursor names it.
    pub fn name(self) -> &'static str {
        match self {
            Order::Ascending => "asc",
            Order::Descending => "desc",
            Order::Shuffled => "shuffled",
        }
    }
}

impl Sort {
    fn from_name(kind: Kind, name: &str) -> Option<Sort> {
        match (kind, name) {
            (_, "id") => Some(Sort::Id),
            (Kind::Threats | Kind::Activities, "createdAt") => Some(Sort::Created),
            (Kind::Threats, "updatedAt") => Some(Sort::Updated),
            (Kind::Alerts, "alertInfoCreatedAt") => Some(Sort::Created),
            (Kind::Alerts, "alertInfoReportedAt") => Some(Sort::Reported),
            _ => None,
        }
    }

    /// The column as a cursor names it.
    pub fn column(self) -> &'static str {
        match self {
            Sort::Id => "id",
            Sort::Created => "created_at",
            Sort::Updated => "updated_at",
            Sort::Reported => "reported_at",
        }
    }
}

fn time_filter(kind: Kind, name: &str, value: &str) -> Result<Option<Vec<Filter>>, Refused> {
    let Some((field, relation)) = name.split_once("__") else { return Ok(None) };
    let on = match (kind, field) {
        (_, "createdAt") => Sort::Created,
        (Kind::Threats, "updatedAt") => Sort::Updated,
        (Kind::Alerts, "reportedAt") => Sort::Reported,
        _ => return Ok(None),
    };
    let not_a_time = || Refused::validation(&format!("{name}: Not a valid datetime."));
    if relation == "between" && kind == Kind::Activities {
        let edges = value.split_once('-').and_then(|(from, to)| {
            Some((from.parse::<i64>().ok()? * 1_000, to.parse::<i64>().ok()? * 1_000))
        });
        let (from, to) = edges.ok_or_else(not_a_time)?;
        return Ok(Some(vec![
            Filter { on, relation: Relation::From, us: from },
            Filter { on, relation: Relation::UpTo, us: to },
        ]));
    }
    let relation = match relation {
        "lt" => Relation::Below,
        "lte" => Relation::UpTo,
        "gt" => Relation::Above,
        "gte" => Relation::From,
        _ => return Ok(None),
    };
    let us = read_query_time(value).ok_or_else(not_a_time)?;
    Ok(Some(vec![Filter { on, relation, us }]))
}

fn number(name: &str, value: &str, from: usize, to: usize) -> Result<usize, Refused> {
    value.parse().ok().filter(|n| (from..=to).contains(n)).ok_or_else(|| {
        Refused::validation(&format!(
            "{name}: Must be greater than or equal to {from} and less than or equal to {to}."
        ))
    })
}

/// Parameters that narrow by something these tenants have only one of.
fn takes_silently(kind: Kind, name: &str) -> bool {
    matches!(name, "accountIds" | "siteIds" | "groupIds" | "tenant")
        || match kind {
            Kind::Activities => matches!(name, "includeHidden" | "activityTypes"),
            Kind::Threats => matches!(name, "resolved" | "incidentStatuses" | "analystVerdicts"),
            Kind::Alerts => matches!(name, "disablePagination" | "severity"),
        }
}

impl Query {
    /// Whether it asks for what is new, or for what lies before a time.
    pub fn asked_for(&self) -> Asked {
        let looks_back =
            |filter: &Filter| matches!(filter.relation, Relation::Below | Relation::UpTo);
        match self.count_only || self.filters.iter().any(looks_back) {
            true => Asked::Ranges,
            false => Asked::Polls,
        }
    }

    pub fn read(kind: Kind, query: &str) -> Result<Query, Refused> {
        let mut read = Query {
            limit: 10,
            skip: 0,
            cursor: None,
            count_only: false,
            skip_count: false,
            sort: Sort::Id,
            order: Order::Ascending,
            filters: Vec::new(),
            ids: Vec::new(),
        };
        for (name, value) in decode_pairs(query) {
            let is_true = value.eq_ignore_ascii_case("true");
            match name.as_str() {
                "limit" => read.limit = number(&name, &value, 1, 1_000)?,
                "skip" => read.skip = number(&name, &value, 0, 1_000)?,
                "cursor" => read.cursor = Some(value).filter(|text| !text.is_empty()),
                "countOnly" => read.count_only = is_true,
                "skipCount" => read.skip_count = is_true,
                "ids" => read.ids = value.split(',').filter_map(|id| id.parse().ok()).collect(),
                "sortOrder" if value == "asc" => read.order = Order::Ascending,
                "sortOrder" if value == "desc" => read.order = Order::Descending,
                "sortBy" if Sort::from_name(kind, &value).is_some() => {
                    read.sort = Sort::from_name(kind, &value).unwrap();
                }
                "sortOrder" | "sortBy" => {
                    let detail = format!("{name}: \"{value}\" is not a valid choice.");
                    return Err(Refused::validation(&detail));
                }
                _ => match time_filter(kind, &name, &value)? {
                    Some(filters) => read.filters.extend(filters),
                    None if takes_silently(kind, &name) => {}
                    None => {
                        let detail = format!("dict_values(['{name}']): Unknown field");
                        return Err(Refused::validation(&detail));
                    }
                },
            }
        }
        Ok(read)
    }
}
