//! Records as a SentinelOne console writes them, made up here: threats, activities and alerts of a
//! company that does not exist.
//!
//! Promises: ids are snowflakes of the record's time of insertion; the same draft gives the same
//! bytes; shapes that were seen in the wild (numbers above 2^53, type drift, odd stamps, macros of
//! a megabyte, broken UTF-8) can be asked for by name.

use super::clock::iso;

/// Which list of the API a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Threats,
    Activities,
    Alerts,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Threats, Kind::Activities, Kind::Alerts];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Threats => "threats",
            Kind::Activities => "activities",
            Kind::Alerts => "alerts",
        }
    }
}

/// What is unusual about a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Shape {
    #[default]
    Usual,
    /// Integers above 2^53 and members whose type changed over the years.
    BigNumbers,
    /// U+2019, escapes of every kind, a surrogate pair, an escaped solidus.
    Typography,
    /// Two bytes inside a string that are no UTF-8.
    BrokenUtf8,
    /// Macro source of this many bytes.
    Macro(usize),
    /// Nothing but escaped quotes, this many bytes of them: twice as long in an entry.
    Quotes(usize),
    /// The position stamp as written, instead of the usual six digits.
    StampText(&'static str),
    /// The same as raw JSON, for stamps that are numbers.
    StampJson(&'static str),
    /// The position stamp is null.
    NoStamp,
    /// The computer's name is a number.
    OddComputer,
}

/// Everything that makes a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub kind: Kind,
    pub id: u64,
    /// `createdAt`; for alerts `reportedAt`, five seconds after their `createdAt`.
    pub created_us: i64,
    pub updated_us: i64,
    /// The record is filled up to about this many bytes.
    pub size: usize,
    /// Filled with what hardly compresses.
    pub noise: bool,
    pub shape: Shape,
    pub activity_type: u32,
    /// `malicious`, `suspicious` or `n/a`.
    pub confidence: &'static str,
    pub mitigation: &'static str,
    pub verdict: &'static str,
    pub incident: &'static str,
    /// `Low` to `Critical`, for alerts.
    pub alert_severity: &'static str,
    /// Live state of the agent: changes without `updatedAt`.
    pub active_threats: u32,
}

/// The id of a record inserted at this time: milliseconds since 2017 and a sequence of the console.
pub fn snowflake(inserted_us: i64, sequence: u64) -> u64 {
    const EPOCH_MS: i64 = 1_483_228_800_000;
    let ms = u64::try_from((inserted_us / 1_000 - EPOCH_MS).max(0)).unwrap();
    (ms << 23) | (sequence & 0x7f_ffff)
}

impl Draft {
    pub fn new(kind: Kind, inserted_us: i64, sequence: u64) -> Draft {
        // On insert the row is built a little before it is dated.
        let before = i64::try_from(sequence * 37 % 9_000).unwrap();
        Draft {
            kind,
            id: snowflake(inserted_us, sequence),
            created_us: inserted_us,
            updated_us: inserted_us - before,
            size: 0,
            noise: false,
            shape: Shape::Usual,
            activity_type: [27, 33, 90, 92, 2001, 4003, 5009, 5126][sequence as usize % 8],
            confidence: if sequence.is_multiple_of(3) { "suspicious" } else { "malicious" },
            mitigation: if sequence.is_multiple_of(2) { "not_mitigated" } else { "mitigated" },
            verdict: "undefined",
            incident: "unresolved",
            alert_severity: ["Low", "Medium", "High", "Critical"][sequence as usize % 4],
            active_threats: 0,
        }
    }

    /// The stamp by which the stream is polled.
    pub fn position_us(&self) -> i64 {
        match self.kind {
            Kind::Threats => self.updated_us,
            Kind::Activities | Kind::Alerts => self.created_us,
        }
    }

    pub fn computer(&self) -> String {
        format!("WS-{:04}", self.id % 9_973)
    }

    pub fn render(&self) -> Vec<u8> {
        let mut json = match self.kind {
            Kind::Threats => self.threat(),
            Kind::Activities => self.activity(),
            Kind::Alerts => self.alert(),
        };
        // The filler stands where a record's own long text would stand.
        let missing = self.size.saturating_sub(json.len());
        let at = json.find(FILLER).expect("every kind has a place for its filler");
        json.replace_range(at..at + FILLER.len(), &filler(self.id, missing, self.noise));
        let mut bytes = json.into_bytes();
        if self.shape == Shape::BrokenUtf8 {
            let at = find(&bytes, b"@@").expect("a broken record has a place for its bytes");
            bytes[at..at + 2].copy_from_slice(&[0xff, 0xc3]);
        }
        bytes
    }

    fn stamp_json(&self) -> String {
        match self.shape {
            Shape::StampText(text) => format!("\"{text}\""),
            Shape::StampJson(json) => json.to_string(),
            Shape::NoStamp => "null".to_string(),
            _ => format!("\"{}\"", iso(self.position_us())),
        }
    }

    fn computer_json(&self) -> String {
        match self.shape {
            Shape::OddComputer => (self.id % 100).to_string(),
            _ => format!("\"{}\"", self.computer()),
        }
    }

    fn odd_text(&self) -> &'static str {
        match self.shape {
            Shape::Typography => {
                "Anna\u{2019}s Mac \\u2019 \\ud83d\\ude00 \\/ \\\\ \\\" \\b\\f\\n\\r\\t \\u0000 \u{1f600}"
            }
            Shape::BrokenUtf8 => "before @@ after",
            _ => "",
        }
    }

    fn odd_members(&self) -> &'static str {
        match self.shape {
            Shape::BigNumbers => {
                ", \"scopeId\": 1392053568582758390, \"rulescopeid\": 2255188848135565064, \
                 \"ruleId\": -1, \"score\": 1.10000000000000000001e2, \"detectedat\": 1637076565467, \
                 \"newValue\": false, \"tagNames\": [], \"policy\": {\"a.b\": 18446744073709551617}"
            }
            _ => "",
        }
    }

    /// With the spaces that a Python encoder leaves.
    fn activity(&self) -> String {
        let (id, computer, odd) = (self.id, self.computer_json(), self.odd_text());
        let macro_text = self.macro_text();
        format!(
            "{{\"accountId\": \"1001000000000000001\", \"accountName\": \"Example Works\", \
             \"activityType\": {kind}, \"activityUuid\": \"{id:08x}-5afe-402b-8ea0-{tail:012x}\", \
             \"agentId\": \"{agent}\", \"agentUpdatedVersion\": null, \"comments\": null, \
             \"createdAt\": {stamp}, \"data\": {{\"accountName\": \"Example Works\", \
             \"computerName\": {computer}, \"fullScopeDetails\": \"Group Default in Site Plant 2\", \
             \"ipAddress\": \"192.0.2.{octet}\", \"note\": \"{odd}{macro_text}{FILLER}\", \
             \"siteName\": \"Plant 2\", \"source\": \"mgmt\"{members}}}, \"description\": null, \
             \"groupId\": \"1001000000000000003\", \"groupName\": \"Default\", \"hash\": null, \
             \"id\": \"{id}\", \"osFamily\": null, \"primaryDescription\": \"The agent {name} did \
             something of type {kind}.\", \"secondaryDescription\": \"\", \
             \"siteId\": \"1001000000000000002\", \"siteName\": \"Plant 2\", \"threatId\": null, \
             \"updatedAt\": \"{updated}\", \"userId\": null}}",
            kind = self.activity_type,
            tail = id & 0xffff_ffff_ffff,
            agent = self.agent_id(),
            stamp = self.stamp_json(),
            octet = id % 254 + 1,
            members = self.odd_members(),
            name = self.computer(),
            updated = iso(self.updated_us),
        )
    }

    fn threat(&self) -> String {
        let (id, computer, odd) = (self.id, self.computer_json(), self.odd_text());
        let macro_text = self.macro_text();
        format!(
            "{{\"agentDetectionInfo\":{{\"accountId\":\"1001000000000000001\",\"accountName\":\
             \"Example Works\",\"agentDomain\":\"WORKGROUP\",\"agentIpV4\":\"192.0.2.{octet},\
             198.51.100.7\",\"agentIpV6\":\"\",\"agentVersion\":\"24.1.4.257\",\"cloudProviders\":\
             {{}},\"siteName\":\"Plant 2\"}},\"agentRealtimeInfo\":{{\"activeThreats\":{active},\
             \"agentComputerName\":{computer},\"agentDecommissionedAt\":false,\"agentId\":\
             \"{agent}\",\"agentInfected\":true,\"agentOsName\":\"Windows 11 Pro\",\
             \"networkInterfaces\":[{{\"id\":\"1\",\"inet\":[\"192.0.2.{octet}\"],\"name\":\
             \"Ethernet\"}}],\"scanStatus\":\"finished\"}},\"containerInfo\":{{\"id\":null}},\
             \"id\":\"{id}\",\"indicators\":[{{\"category\":\"Evasion\",\"description\":\
             \"{odd}{FILLER}\",\"ids\":[43,1392053568582758390],\"tactics\":[]}}],\
             \"kubernetesInfo\":{{\"cluster\":null}},\"mitigationStatus\":[{{\"action\":\
             \"quarantine\",\"actionsCounters\":null,\"lastUpdate\":\"{updated}\",\"latestReport\":\
             null,\"status\":\"success\"}}],\"threatInfo\":{{\"analystVerdict\":\"{verdict}\",\
             \"classification\":\"Malware\",\"confidenceLevel\":\"{confidence}\",\"createdAt\":\
             \"{created}\",\"detectionEngines\":[{{\"key\":\"pre_execution\",\"title\":\"On-Write \
             Static AI\"}}],\"fileSize\":53248,\"identifiedAt\":\"{identified}\",\
             \"incidentStatus\":\"{incident}\",\"macroModules\":[{{\"content\":\"{macro_text}\"}}],\
             \"md5\":null,\"mitigationStatus\":\"{mitigation}\",\"sha1\":\"{id:040x}\",\
             \"threatId\":\"{id}\",\"threatName\":\"invoice_{short}.exe\",\"updatedAt\":{stamp}\
             {members}}},\"whiteningOptions\":[\"hash\",\"path\"]}}",
            octet = id % 254 + 1,
            active = self.active_threats,
            agent = self.agent_id(),
            updated = iso(self.updated_us),
            verdict = self.verdict,
            confidence = self.confidence,
            created = iso(self.created_us),
            identified = iso(self.created_us - 120_000),
            incident = self.incident,
            mitigation = self.mitigation,
            short = id % 100_000,
            stamp = self.stamp_json(),
            members = self.odd_members(),
        )
    }

    fn alert(&self) -> String {
        let (id, computer, odd) = (self.id, self.computer_json(), self.odd_text());
        let macro_text = self.macro_text();
        format!(
            "{{\"agentDetectionInfo\":{{\"name\":{computer},\"osFamily\":\"windows\"}},\
             \"agentRealtimeInfo\":{{\"name\":{computer},\"id\":\"{agent}\"}},\"alertInfo\":\
             {{\"alertId\":\"{id}\",\"analystVerdict\":\"Undefined\",\"createdAt\":\"{created}\",\
             \"dstPort\":\"443\",\"eventType\":\"PROCESSCREATION\",\"incidentStatus\":\
             \"Unresolved\",\"reportedAt\":{stamp},\"source\":\"STAR\",\"updatedAt\":\"{updated}\"}},\
             \"ruleInfo\":{{\"id\":\"1001000000000000009\",\"name\":\"Office starts a shell\",\
             \"severity\":\"{severity}\",\"treatAsThreat\":\"UNDEFINED\"{members}}},\
             \"sourceProcessInfo\":{{\"commandline\":\"{odd}{macro_text}{FILLER}\",\"pid\":\"4711\",\
             \"pidStarttime\":\"1970-01-01T00:00:00Z\"}},\"targetProcessInfo\":\
             {{\"tgtFileCreatedAt\":\"1970-01-01T00:00:00Z\"}}}}",
            agent = self.agent_id(),
            created = iso(self.created_us - 5_000_000),
            stamp = self.stamp_json(),
            updated = iso(self.updated_us),
            severity = self.alert_severity,
            members = self.odd_members(),
        )
    }

    fn agent_id(&self) -> u64 {
        1_002_000_000_000_000_000 + self.id % 9_973
    }

    fn macro_text(&self) -> String {
        const LINE: &str = "Sub AutoOpen() \\r\\n Dim x As String: x = \\\"calc\\\" \\r\\n";
        match self.shape {
            Shape::Macro(bytes) => LINE.repeat(bytes / LINE.len() + 1),
            Shape::Quotes(bytes) => "\\\"".repeat(bytes / 2),
            _ => String::new(),
        }
    }
}

/// Where the filler goes; no record says this of itself.
const FILLER: &str = "\u{1}filler\u{1}";

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

/// Text of a length that compresses about as far as command lines and paths do.
fn filler(seed: u64, length: usize, noise: bool) -> String {
    const WORDS: [&str; 16] = [
        "C:\\\\Windows\\\\System32\\\\",
        "powershell.exe ",
        "-EncodedCommand ",
        "svchost.exe ",
        "HKLM\\\\Software\\\\",
        "Users\\\\anna\\\\",
        "rundll32 ",
        "AppData\\\\Roaming\\\\",
        "--type=renderer ",
        "/quiet /norestart ",
        "schtasks /create ",
        "explorer.exe ",
        "ProgramData\\\\Vendor\\\\",
        "regsvr32 /s ",
        "wmic process call ",
        "cmd.exe /c ",
    ];
    // Neighbours must not look alike: their ids differ by one.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = String::with_capacity(length + 64);
    while text.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = state >> 33;
        if noise {
            text.extend((0..5).map(|nth| LETTERS[(draw >> (nth * 6)) as usize % 64] as char));
        } else if draw.is_multiple_of(4) {
            text.push_str(&format!("{draw:08x} "));
        } else {
            text.push_str(WORDS[(draw >> 4) as usize % WORDS.len()]);
        }
    }
    text
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
