//! What a record ranks at Coralogix: certainty never below suspicion.

use std::collections::HashMap;

use crate::scene::Scene;
use crate::support::data::Kind;

#[test]
fn an_event_marked_as_malicious_ranks_above_one_marked_as_suspicious() {
    const TWINS: [(u32, u32); 5] =
        [(4104, 4105), (4106, 4107), (4108, 4109), (4110, 4112), (4111, 4113)];
    let mut scene = Scene::new();
    let mut types = HashMap::new();
    for activity_type in TWINS.iter().flat_map(|(certain, suspected)| [*certain, *suspected]) {
        let publish = |draft: &mut crate::support::data::Draft| draft.activity_type = activity_type;
        let id = scene.tenant().publish_with(Kind::Activities, 1, publish)[0];
        types.insert(id, activity_type);
    }
    scene.once_with_code(0);
    scene.assert_exactly_once();
    let mut severities = HashMap::new();
    let book: Vec<u64> = scene.ledger.look(|book| book.entries.iter().map(|e| e.id).collect());
    for stored in scene.ingress.stored() {
        let id = book[stored.published.expect("only what was published is stored")];
        severities.insert(types[&id], stored.severity);
    }
    for (certain, suspected) in TWINS {
        assert_eq!((severities[&certain], severities[&suspected]), (5, 4), "{certain}");
    }
}
