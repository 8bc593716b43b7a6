//! `namegate reload`: asks running resolvers to reload, and prints the outcomes.

use axum::http::Method;

use super::fleet::on_each;
use super::http::{AdminClient, Error};
use crate::api::reload::ReloadJson;
use crate::assemble::Sources;

/// Reloads each resolver; exit status 1 if one did not.
pub(super) fn run(resolvers: &[Sources]) -> u8 {
    on_each(resolvers, &async |client| reload(client).await)
}

async fn reload(client: &AdminClient) -> Result<String, Error> {
    let page = client.order(Method::POST, "/api/v1/reload", None::<&()>).await?;
    if page.status != 200 {
        return Err(page.refusal().into());
    }
    let ReloadJson { succeeded, message, .. } =
        serde_json::from_slice(&page.body).map_err(|_| "the answer is not from namegate")?;
    let message: Vec<String> = message.lines().map(super::http::printable).collect();
    let message = message.join("\n");
    match succeeded {
        true => Ok(format!("Reloaded: {message}")),
        false => Err(format!("reload failed; the previous policy stays active\n{message}").into()),
    }
}
