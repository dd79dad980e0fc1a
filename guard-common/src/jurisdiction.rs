//! Jurisdictions: ISO 3166-1 alpha-2 country codes, `XK`, and the two marks `unknown` and `uncertain`.
//!
//! In the tables a jurisdiction is one byte, its index in the sorted list of codes, so that
//! everything the kernel keeps by jurisdiction is a plain array of [`COUNT`] elements.

use core::fmt;
use core::str::FromStr;

/// The officially assigned ISO 3166-1 alpha-2 codes and [`KOSOVO`], sorted. Codes that are only reserved or
/// were withdrawn (`EU`, `UK`, `AN`, `SU` ...) are not countries and are not here.
static CODES: [[u8; 2]; 250] = [
    *b"AD", *b"AE", *b"AF", *b"AG", *b"AI", *b"AL", *b"AM", *b"AO", *b"AQ", *b"AR", *b"AS", *b"AT", *b"AU",
    *b"AW", *b"AX", *b"AZ", *b"BA", *b"BB", *b"BD", *b"BE", *b"BF", *b"BG", *b"BH", *b"BI", *b"BJ", *b"BL",
    *b"BM", *b"BN", *b"BO", *b"BQ", *b"BR", *b"BS", *b"BT", *b"BV", *b"BW", *b"BY", *b"BZ", *b"CA", *b"CC",
    *b"CD", *b"CF", *b"CG", *b"CH", *b"CI", *b"CK", *b"CL", *b"CM", *b"CN", *b"CO", *b"CR", *b"CU", *b"CV",
    *b"CW", *b"CX", *b"CY", *b"CZ", *b"DE", *b"DJ", *b"DK", *b"DM", *b"DO", *b"DZ", *b"EC", *b"EE", *b"EG",
    *b"EH", *b"ER", *b"ES", *b"ET", *b"FI", *b"FJ", *b"FK", *b"FM", *b"FO", *b"FR", *b"GA", *b"GB", *b"GD",
    *b"GE", *b"GF", *b"GG", *b"GH", *b"GI", *b"GL", *b"GM", *b"GN", *b"GP", *b"GQ", *b"GR", *b"GS", *b"GT",
    *b"GU", *b"GW", *b"GY", *b"HK", *b"HM", *b"HN", *b"HR", *b"HT", *b"HU", *b"ID", *b"IE", *b"IL", *b"IM",
    *b"IN", *b"IO", *b"IQ", *b"IR", *b"IS", *b"IT", *b"JE", *b"JM", *b"JO", *b"JP", *b"KE", *b"KG", *b"KH",
    *b"KI", *b"KM", *b"KN", *b"KP", *b"KR", *b"KW", *b"KY", *b"KZ", *b"LA", *b"LB", *b"LC", *b"LI", *b"LK",
    *b"LR", *b"LS", *b"LT", *b"LU", *b"LV", *b"LY", *b"MA", *b"MC", *b"MD", *b"ME", *b"MF", *b"MG", *b"MH",
    *b"MK", *b"ML", *b"MM", *b"MN", *b"MO", *b"MP", *b"MQ", *b"MR", *b"MS", *b"MT", *b"MU", *b"MV", *b"MW",
    *b"MX", *b"MY", *b"MZ", *b"NA", *b"NC", *b"NE", *b"NF", *b"NG", *b"NI", *b"NL", *b"NO", *b"NP", *b"NR",
    *b"NU", *b"NZ", *b"OM", *b"PA", *b"PE", *b"PF", *b"PG", *b"PH", *b"PK", *b"PL", *b"PM", *b"PN", *b"PR",
    *b"PS", *b"PT", *b"PW", *b"PY", *b"QA", *b"RE", *b"RO", *b"RS", *b"RU", *b"RW", *b"SA", *b"SB", *b"SC",
    *b"SD", *b"SE", *b"SG", *b"SH", *b"SI", *b"SJ", *b"SK", *b"SL", *b"SM", *b"SN", *b"SO", *b"SR", *b"SS",
    *b"ST", *b"SV", *b"SX", *b"SY", *b"SZ", *b"TC", *b"TD", *b"TF", *b"TG", *b"TH", *b"TJ", *b"TK", *b"TL",
    *b"TM", *b"TN", *b"TO", *b"TR", *b"TT", *b"TV", *b"TW", *b"TZ", *b"UA", *b"UG", *b"UM", *b"US", *b"UY",
    *b"UZ", *b"VA", *b"VC", *b"VE", *b"VG", *b"VI", *b"VN", *b"VU", *b"WF", *b"WS", KOSOVO, *b"YE", *b"YT",
    *b"ZA", *b"ZM", *b"ZW",
];

/// Kosovo. ISO 3166-1 leaves `XK` to its users (the range `XA` to `XZ`), and the makers of geo databases, CLDR and
/// the European Commission use it so. Without it, what they place there would be `unknown`, and no pin could name it.
const KOSOVO: [u8; 2] = *b"XK";

/// Elements that an array by jurisdiction has: a power of two, so that a mask bounds every index.
pub const COUNT: usize = 256;

/// One jurisdiction as the tables hold it: 0 is `unknown`, 1 to 250 are the countries in the order
/// of their codes, 251 is `uncertain`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Jurisdiction(u8);

impl Jurisdiction {
    /// No source says where the address is.
    pub const UNKNOWN: Self = Self(0);
    /// Anycast, or sources disagree.
    pub const UNCERTAIN: Self = Self(CODES.len() as u8 + 1);

    /// The country with this code of two capital letters; `None` where it is neither assigned by ISO 3166-1 nor `XK`.
    #[must_use]
    pub fn from_alpha2(code: [u8; 2]) -> Option<Self> {
        CODES.binary_search(&code).ok().map(|index| Self(index as u8 + 1))
    }

    /// The jurisdiction that the tables hold as this number; `None` for a number that is not in use.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        if index <= Self::UNCERTAIN.0 { Some(Self(index)) } else { None }
    }

    /// The number in the tables, always below [`COUNT`].
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }

    /// The alpha-2 code, or `unknown`, or `uncertain`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UNKNOWN => "unknown",
            Self::UNCERTAIN => "uncertain",
            Self(index) => CODES
                .get(usize::from(index) - 1)
                .and_then(|code| core::str::from_utf8(code).ok())
                .unwrap_or("unknown"),
        }
    }

    /// Whether this is a country and neither of the two marks.
    #[must_use]
    pub fn is_country(self) -> bool {
        self != Self::UNKNOWN && self != Self::UNCERTAIN
    }

    /// Every jurisdiction there is: the countries in the order of their codes, then the two marks.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..Self::UNCERTAIN.0).map(Self).chain([Self::UNKNOWN, Self::UNCERTAIN])
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no ISO 3166-1 alpha-2 code in capitals and neither `unknown` nor `uncertain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownJurisdiction;

impl fmt::Display for UnknownJurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no ISO 3166-1 alpha-2 code (such as IE), and neither \"unknown\" nor \"uncertain\"")
    }
}

impl core::error::Error for UnknownJurisdiction {}

impl FromStr for Jurisdiction {
    type Err = UnknownJurisdiction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.as_bytes()) {
            ("unknown", _) => Ok(Self::UNKNOWN),
            ("uncertain", _) => Ok(Self::UNCERTAIN),
            (_, &[first, second]) => Self::from_alpha2([first, second]).ok_or(UnknownJurisdiction),
            _ => Err(UnknownJurisdiction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_so_that_the_search_finds_them() {
        assert!(CODES.is_sorted());
    }

    #[test]
    fn every_jurisdiction_reads_back_from_its_text_and_its_number() {
        assert_eq!(Jurisdiction::all().count(), 252);
        for jurisdiction in Jurisdiction::all() {
            assert_eq!(jurisdiction.as_str().parse(), Ok(jurisdiction));
            assert_eq!(Jurisdiction::from_index(jurisdiction.index()), Some(jurisdiction));
        }
    }

    #[test]
    fn what_iso_does_not_assign_is_no_jurisdiction() {
        for text in ["EU", "UK", "AP", "ZZ", "XA", "XZ", "ie", "IRL", "I", "", "Unknown"] {
            assert_eq!(text.parse::<Jurisdiction>(), Err(UnknownJurisdiction), "{text}");
        }
        assert_eq!(Jurisdiction::from_index(252), None);
    }

    #[test]
    fn kosovo_is_a_country_by_the_code_that_databases_use() {
        let kosovo: Jurisdiction = "XK".parse().unwrap();
        assert!(kosovo.is_country());
        assert_eq!(Jurisdiction::from_alpha2(KOSOVO), Some(kosovo));
        assert_eq!(kosovo.to_string(), "XK");
    }
}
