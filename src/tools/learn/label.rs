//! Classifies labels: cloud regions, generated labels and encoded data.

/// Azure's region names as used in host names, as of 2026-11: public, Government and 21Vianet.
#[rustfmt::skip]
const REGIONS: &[&str] = &[
    "australiacentral", "australiacentral2", "australiaeast", "australiasoutheast", "austriaeast", "belgiumcentral",
    "brazilsouth", "brazilsoutheast", "canadacentral", "canadaeast", "centralindia", "centralus", "centraluseuap",
    "chilecentral", "chinaeast", "chinaeast2", "chinaeast3", "chinanorth", "chinanorth2", "chinanorth3",
    "denmarkeast", "eastasia", "eastus", "eastus2", "eastus2euap", "eastus3", "francecentral", "francesouth",
    "germanynorth", "germanywestcentral", "indonesiacentral", "israelcentral", "italynorth", "japaneast",
    "japanwest", "jioindiacentral", "jioindiawest", "koreacentral", "koreasouth", "malaysiasouth", "malaysiawest",
    "mexicocentral", "newzealandnorth", "northcentralus", "northeurope", "norwayeast", "norwaywest",
    "polandcentral", "qatarcentral", "southafricanorth", "southafricawest", "southcentralus", "southeastasia",
    "southindia", "spaincentral", "swedencentral", "swedensouth", "switzerlandnorth", "switzerlandwest",
    "uaecentral", "uaenorth", "uksouth", "ukwest", "usdodcentral", "usdodeast", "usgovarizona", "usgoviowa",
    "usgovtexas", "usgovvirginia", "westcentralus", "westeurope", "westindia", "westus", "westus2", "westus3",
];

/// True for an Azure region, or a label in the form of Amazon's regions (`us-east-1`).
///
/// Regions are few and chosen by the user, so names in several regions do not justify a wildcard.
pub(super) fn is_region(label: &[u8]) -> bool {
    std::str::from_utf8(label)
        .is_ok_and(|label| REGIONS.binary_search(&label).is_ok() || is_amazon_region(label))
}

fn is_amazon_region(label: &str) -> bool {
    const CONTINENTS: [&str; 11] = ["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx", "cn", "us-gov"];
    const SIDES: [&str; 9] =
        ["north", "south", "east", "west", "central", "northeast", "northwest", "southeast", "southwest"];
    let parts = label.rsplit_once('-').and_then(|(place, number)| Some((place.rsplit_once('-')?, number)));
    parts.is_some_and(|((continent, side), number)| {
        let is_number = number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number && CONTINENTS.contains(&continent) && SIDES.contains(&side)
    })
}

/// Minimum consecutive hexadecimal digits of a generated label.
const MADE_UP: usize = 16;

/// True for a generated label: it has a UUID or a long hexadecimal number. More such labels are likely to follow.
pub(super) fn is_made_up(label: &[u8]) -> bool {
    let is_number = |part: &[u8]| part.len() >= MADE_UP && part.iter().all(u8::is_ascii_hexdigit);
    without_uuids(label).len() < label.len() || label.split(|byte| *byte == b'-').any(is_number)
}

/// Minimum characters without a hyphen for a label with a digit to count as data. Labels that people write are shorter
/// or are words; tunnels fill labels up to 63 characters.
const DATA: usize = 24;

/// True for a label that may carry data. UUIDs do not count, because their form is known.
pub(super) fn is_like_data(label: &[u8]) -> bool {
    let is_data = |part: &[u8]| part.len() >= DATA && part.iter().any(u8::is_ascii_digit);
    without_uuids(label).split(|byte| *byte == b'-').any(is_data)
}

/// Minimum characters without a hyphen for a label of letters and digits to count as random.
const RANDOM: usize = 12;

/// True for a label that may be random: letters and digits in one long word. Of such names, each use has another one, or
/// all uses the same; the number of lookups tells which.
pub(super) fn is_random(label: &[u8]) -> bool {
    let is_mixed = |part: &[u8]| {
        let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
        part.len() >= RANDOM && digits >= 2 && part.len() - digits >= 2
    };
    without_uuids(label).split(|byte| *byte == b'-').any(is_mixed)
}

/// The label without any UUIDs (RFC 9562 section 4).
fn without_uuids(label: &[u8]) -> Vec<u8> {
    const LENGTH: usize = 36;
    let is_uuid = |text: &[u8]| {
        text.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    match label.windows(LENGTH).position(is_uuid) {
        Some(start) => {
            let rest = without_uuids(&label[start + LENGTH..]);
            [&label[..start], &rest].concat()
        }
        None => label.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_known() {
        assert!(REGIONS.is_sorted(), "binary search needs sorted regions");
        for (label, expected) in [
            ("westeurope", true),
            ("usgovvirginia", true),
            ("us-east-1", true),
            ("us-gov-west-1", true),
            ("ap-southeast-2", true),
            ("eu-web-1", false),
            ("db-east-1", false),
            ("west", false),
            ("api", false),
        ] {
            assert_eq!(is_region(label.as_bytes()), expected, "{label}");
        }
    }

    #[test]
    fn generated_labels_and_data_are_distinguished() {
        for (label, made_up, data, random) in [
            ("4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58", true, false, false),
            ("ml-demo-eastus-4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58", true, false, false),
            ("d41d8cd98f00b204e9800998ecf8427e", true, true, true),
            ("deadbeefdeadbeef", true, false, false),
            ("mfrggzdfmztwq2lkmnsgk3lpobzhe4tfonsw4z3foi2tqmrr", false, true, true),
            ("my-companys-very-long-bucket-name-for-logs-2026", false, false, false),
            ("registry", false, false, false),
            ("d111111abcdef8", false, false, true),
            ("q7x2k9w4m1z8", false, false, true),
            ("build-agent-0042", false, false, false),
            ("internationalizationservices", false, false, false),
        ] {
            assert_eq!(is_made_up(label.as_bytes()), made_up, "{label} is made up");
            assert_eq!(is_like_data(label.as_bytes()), data, "{label} is like data");
            assert_eq!(is_random(label.as_bytes()), random, "{label} is random");
        }
    }
}
