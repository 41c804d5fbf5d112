//! Misbehaviour on order: what a test needs a provider to do wrong, once, twice or until told to stop.

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

/// One way to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not handled; this status.
    Status(StatusCode),
    /// Not handled and never answered.
    Timeout,
    /// Handled; then the connection ends without an answer.
    CutAfterCommit,
    /// Handled at once, answered late.
    Slow(Duration),
    /// Not handled; 429 with `Retry-After`.
    RateLimit(Duration),
    /// Handled; answered with 200 and something that is no answer.
    Garbage,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, argument) = text.split_once(':').map_or((text, None), |(kind, argument)| (kind, Some(argument)));
        match (kind, argument) {
            ("status", Some(code)) => code
                .parse()
                .ok()
                .and_then(|code: u16| StatusCode::from_u16(code).ok())
                .map(Self::Status)
                .ok_or_else(|| format!("{code} is no status")),
            ("timeout", None) => Ok(Self::Timeout),
            ("cut_after_commit", None) => Ok(Self::CutAfterCommit),
            ("slow", Some(time)) => duration(time).map(Self::Slow),
            ("rate_limit", Some(time)) => duration(time).map(Self::RateLimit),
            ("garbage", None) => Ok(Self::Garbage),
            _ => Err(format!(
                "{text} is no fault; there are status:NNN, timeout, cut_after_commit, slow:2s, rate_limit:1s, garbage"
            )),
        }
    }
}

/// `400ms`, `2s`, `1m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("{text} is no duration; write 400ms, 2s or 1m");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Order {
    /// A path of Seam's, or `*`.
    pub(crate) path: String,
    #[serde(skip)]
    pub(crate) fault: Fault,
    /// As it was ordered.
    #[serde(rename = "fault")]
    pub(crate) text: String,
    /// How often still; `None`: until it is cleared.
    pub(crate) times: Option<u32>,
}

/// The faults on order, first come first served.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Order>);

impl Faults {
    pub(crate) fn order(&mut self, order: Order) {
        self.0.push(order);
    }

    /// The fault that befalls this call, if any; it is counted.
    pub(crate) fn strike(&mut self, path: &str) -> Option<Fault> {
        let place = self.0.iter().position(|order| order.path == path || order.path == "*")?;
        let order = self.0.get_mut(place)?;
        let fault = order.fault;
        if let Some(times) = &mut order.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(place);
            }
        }
        Some(fault)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn orders(&self) -> &[Order] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_their_text() {
        assert_eq!("status:503".parse(), Ok(Fault::Status(StatusCode::SERVICE_UNAVAILABLE)));
        assert_eq!("slow:400ms".parse(), Ok(Fault::Slow(Duration::from_millis(400))));
        assert_eq!("rate_limit:1s".parse(), Ok(Fault::RateLimit(Duration::from_secs(1))));
        for wrong in ["", "status", "status:9", "slow:", "slow:2h", "timeout:1s"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_counted_fault_strikes_so_often_and_no_more() {
        let mut faults = Faults::default();
        let text = "timeout".to_owned();
        faults.order(Order { path: "/phones/get".to_owned(), fault: Fault::Timeout, text, times: Some(2) });
        assert_eq!(faults.strike("/phones/list"), None);
        assert_eq!(faults.strike("/phones/get"), Some(Fault::Timeout));
        assert_eq!(faults.strike("/phones/get"), Some(Fault::Timeout));
        assert_eq!(faults.strike("/phones/get"), None);
    }
}
