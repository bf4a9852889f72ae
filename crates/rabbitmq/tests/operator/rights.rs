//! A user that may read and write and nothing else.

use polymq_core::ErrorKind;
use polymq_core::broker::ObjectState;

use crate::scene::{Scene, queue, set_up};

#[tokio::test]
async fn planning_takes_no_rights_and_applying_says_which() {
    let scene = Scene::new().await;
    let broker = scene.unprivileged(vec![queue("q")]).await;
    let plan = broker.admin().plan().await.unwrap();
    assert_eq!(plan.missing().count(), plan.objects.len());
    let error = broker.admin().apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let told = error.to_string();
    assert!(told.contains("topology apply") && told.contains("set_permissions"), "{told}");
}

#[tokio::test]
async fn what_somebody_else_applied_is_there_for_all() {
    let scene = Scene::new().await;
    set_up(&*scene.broker(vec![queue("q")]).await).await;
    let broker = scene.unprivileged(vec![queue("q")]).await;
    let plan = set_up(&*broker).await;
    assert!(plan.objects.iter().all(|o| o.state == ObjectState::Present), "{plan:?}");
}
