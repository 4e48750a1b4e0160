//! Who is let in, by what was told of it before.

use futures::FutureExt;

use super::*;

const HERE: u8 = 1;

pub(in crate::peer) fn book() -> PeerBook {
    let address = "127.0.0.1:0".parse().expect("an address");
    let text = || "127.0.0.1:0".to_owned();
    let book = PeerBook::new(&ServerConfig {
        client: address,
        admin: address,
        peer: address,
        advertise: crate::Advertise { client: text(), admin: text(), peer: text() },
        max_message: 1 << 20,
        request_timeout: std::time::Duration::from_secs(1),
        seeds: Vec::new(),
        cluster_id: "test".parse().expect("a cluster id"),
        node_id: NodeId::new(HERE.into()).expect("above 0"),
        version: "0".to_owned(),
    });
    book.set_incarnation(Incarnation::from_bytes([HERE; 16]));
    book
}

pub(in crate::peer) fn node(id: u64, life: u8, peer_address: &str) -> v1::Node {
    v1::Node {
        node_id: id,
        incarnation: Bytes::copy_from_slice(&[life; 16]),
        peer_address: peer_address.to_owned(),
        ..v1::Node::default()
    }
}

/// Tells the book these things in turn; the last one is let in or not, and
/// the node is then known by this incarnation and address.
fn check(told: &[(v1::Node, Source)], let_in: bool, known: (u8, &str)) {
    let book = book();
    let met = told.iter().map(|(node, source)| book.meet(node.clone(), *source)).last();
    assert_eq!(met.expect("something is told").is_ok(), let_in, "{told:?}");
    let node_id = NodeId::new(told[0].0.node_id).expect("above 0");
    let now = book.node(node_id).expect("the node is known");
    assert_eq!(
        (now.incarnation.as_ref(), now.peer_address.as_str()),
        (&[known.0; 16][..], known.1)
    );
}

#[test]
fn a_better_source_wins_and_an_equal_one_does_not() {
    use Source::{FirstHand, Hearsay, Membership};
    check(&[(node(2, 2, "a"), Hearsay)], true, (2, "a"));
    check(&[(node(2, 9, "a"), Hearsay), (node(2, 2, "b"), FirstHand)], true, (2, "b"));
    check(&[(node(2, 2, "a"), FirstHand), (node(2, 9, "b"), FirstHand)], false, (2, "a"));
    check(&[(node(2, 2, "a"), Membership), (node(2, 9, "b"), FirstHand)], false, (2, "a"));
    check(&[(node(2, 9, "a"), FirstHand), (node(2, 2, "b"), Membership)], true, (2, "b"));
    check(&[(node(2, 2, "a"), FirstHand), (node(2, 2, "b"), Hearsay)], true, (2, "a"));
    check(&[(node(2, 2, "a"), FirstHand), (node(2, 2, "b"), FirstHand)], true, (2, "b"));
    check(&[(node(2, 2, "a"), Membership), (node(2, 2, "b"), FirstHand)], true, (2, "b"));
    check(&[(node(2, 2, "a"), FirstHand), (node(2, 2, "b"), Membership)], true, (2, "a"));
}

#[tokio::test]
async fn an_old_life_is_doubted_and_let_go_of_unless_it_is_connected() {
    let (book, life) = (book(), |life: u8| Incarnation::from_bytes([life; 16]));
    let comes = |life, source| book.meet(node(2, life, "a"), source);
    let node_id = comes(7, Source::Membership).expect("it is new");
    book.set_connected(node_id, true);
    comes(8, Source::FirstHand).expect_err("it is connected in the old life");
    book.set_connected(node_id, false);
    comes(8, Source::Hearsay).expect_err("that others say so raises no doubt");
    let doubted = tokio::time::timeout(std::time::Duration::ZERO, book.doubted());
    assert!(doubted.await.is_err(), "nothing is doubted yet");
    comes(8, Source::FirstHand).expect_err("nobody let go of the old life");
    assert_eq!(book.doubted().await, [(node_id, life(7))]);
    book.release(node_id, life(9));
    comes(8, Source::FirstHand).expect_err("another life was let go of");
    book.set_connected(node_id, true);
    book.release(node_id, life(7));
    book.set_connected(node_id, false);
    comes(8, Source::FirstHand).expect_err("it was connected");
    book.release(node_id, life(7));
    comes(8, Source::FirstHand).expect("the old life was let go of");
    assert_eq!(book.incarnation(node_id), Some(life(8)));
}

#[test]
fn our_own_id_is_ours() {
    let book = book();
    let ourselves = book.meet(node(HERE.into(), HERE, "x"), Source::FirstHand);
    assert_eq!(ourselves.map(NodeId::get), Ok(HERE.into()));
    let twin = book.meet(node(HERE.into(), 7, "x"), Source::FirstHand);
    assert!(matches!(twin, Err(Stranger::OurId(_))), "{twin:?}");
    assert!(book.nodes().is_empty());
}

#[test]
fn what_is_no_node_is_refused() {
    let book = book();
    assert!(book.meet(node(0, 2, "a"), Source::FirstHand).is_err());
    let short = v1::Node { incarnation: Bytes::from_static(b"x"), ..node(2, 2, "a") };
    assert!(book.meet(short, Source::FirstHand).is_err());
}

#[test]
fn a_process_that_was_replaced_is_told_of_once() {
    let book = book();
    let restarted = || book.restarted().now_or_never().map(Vec::from_iter);
    let runs_as = |process: &'static [u8], source| {
        let node = v1::Node { process: Bytes::from_static(process), ..node(2, 2, "a") };
        book.meet(node, source).expect("it is let in");
    };
    runs_as(b"", Source::Membership);
    runs_as(b"one", Source::FirstHand);
    runs_as(b"one", Source::FirstHand);
    runs_as(b"two", Source::Hearsay);
    runs_as(b"", Source::FirstHand);
    runs_as(b"two", Source::FirstHand);
    assert_eq!(restarted(), None, "one that says nothing may be an older program");
    runs_as(b"three", Source::FirstHand);
    runs_as(b"four", Source::FirstHand);
    assert_eq!(restarted(), Some(vec![NodeId::new(2).expect("above 0")]));
    assert_eq!(restarted(), None);
}

#[test]
fn a_node_is_told_until_it_is_known_and_again_when_it_moved() {
    let book = book();
    let ids = |news: &[v1::Node]| news.iter().map(|node| node.node_id).collect::<Vec<_>>();
    book.meet(node(2, 2, "a"), Source::FirstHand).expect("let in");
    book.meet(node(3, 3, "b"), Source::Hearsay).expect("let in");
    let (all, known) = book.nodes_since(0);
    assert_eq!(ids(&all), [2, 3]);
    book.meet(node(2, 2, "a"), Source::FirstHand).expect("let in");
    assert_eq!(book.nodes_since(known), (Vec::new(), known), "nothing changed");
    book.meet(node(3, 3, "c"), Source::FirstHand).expect("let in");
    let (moved, known) = book.nodes_since(known);
    assert_eq!(ids(&moved), [3]);
    book.meet(node(4, 4, "d"), Source::Membership).expect("let in");
    assert_eq!(ids(&book.nodes_since(known).0), [4]);
    assert_eq!(ids(&book.nodes_since(u64::MAX).0), [2, 3, 4], "of a former life");
    let shares = [2, 3, 4].map(|id| book.shares_with(NodeId::new(id).expect("above 0")));
    assert_eq!(shares, [false, false, true]);
}
