//! Windows of the day, over the built program.

use crate::scene::Scene;
use crate::support::data::Kind;

/// A `$TZ` in which it is now this hour of the day.
fn zone(scene: &Scene, hour: i64) -> [(&'static str, String); 1] {
    let utc = scene.tenant().clock().now_us() / 3_600_000_000 % 24;
    let ahead = (hour - utc + 36) % 24 - 12;
    // POSIX counts what is to be added to get UTC.
    [("TZ", format!("XXX{}", -ahead))]
}

#[test]
fn outside_of_its_windows_nothing_is_delivered_and_once_takes_no_notice_of_them() {
    let windows = "[delivery]\nwindows = [\"00:00-12:00\"]\n";
    let mut scene = Scene::with(|s| s.extra = windows.to_string());
    scene.tenant().publish(Kind::Activities, 300);
    scene.run_with(&zone(&scene, 18));
    scene.wait_waiting(300);
    scene.wait_status_is("/coralogix/reason", "window");
    scene.hurry();
    assert_eq!(scene.command(&["status"]).code, Some(0), "a closed window is no trouble");
    assert_eq!(scene.ledger.balance().delivered, 0);
    scene.stop();
    let once = scene.command_with(&["run", "--once"], &zone(&scene, 18));
    assert_eq!(once.code, Some(0), "{}", once.err);
    scene.wait_delivered(300);
    scene.tenant().publish(Kind::Activities, 20);
    scene.run_with(&zone(&scene, 6));
    scene.settle();
    scene.assert_exactly_once();
}
