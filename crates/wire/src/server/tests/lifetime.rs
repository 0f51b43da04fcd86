use super::*;

fn impatient() -> Options {
    Options { header_timeout: Duration::from_millis(200), ..Options::default() }
}

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    let server = start(impatient(), Duration::from_secs(10)).await;
    for head in ["", "POST / HT", "PRI * HT", "POST / HTTP/1.1\r\nhost: a\r\n"] {
        assert_eq!(raw(server.address, head).await, "", "{head:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_limit_for_heads() {
    let server = start(impatient(), Duration::from_secs(10)).await;
    let client = server.client("/peer");
    let (_, first) = post(&client, "").await;
    // Closed only after the limit.
    assert_eq!(raw(server.address, "POST").await, "");
    assert_eq!(raw(server.address, "POST").await, "");
    assert_eq!(post(&client, "").await, (200, first));
}

#[tokio::test]
async fn on_stop_requests_in_flight_are_answered_and_the_rest_closes() {
    let server = running().await;
    let idle = server.client("/peer");
    post(&idle, "").await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let busy = server.client("/wait");
    let in_flight = tokio::spawn(async move { post(&busy, "answered").await });
    server.waiting(1).await;

    server.stop.cancel();
    // The silent connection is closed while the busy one is still served.
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let refused = idle.post(Bytes::new(), None, soon()).await.unwrap_err();
    assert_eq!(refused.delivered, client::Delivered::No, "{refused}");
    assert!(!in_flight.is_finished());
    assert!(!server.served.is_finished());

    server.echo.release.notify_one();
    assert_eq!(in_flight.await.unwrap(), (200, Bytes::from("answered")));
    server.served.await.unwrap();
}

#[tokio::test]
async fn on_stop_the_grace_is_a_bound() {
    let server = start(Options::default(), Duration::from_millis(50)).await;
    let busy = server.client("/wait");
    let in_flight = tokio::spawn(async move { busy.post(Bytes::new(), None, soon()).await });
    server.waiting(1).await;
    server.stop.cancel();
    server.served.await.unwrap();
    assert_eq!(in_flight.await.unwrap().unwrap_err().fault, client::Fault::Reset);
}
