use super::*;

#[test]
fn a_bucket_gives_no_more_than_it_holds_and_fills_up_again() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let mut bucket = Allowance::new(start);
    let taken = |bucket: &mut Allowance, at| (0..30_000).filter(|_| bucket.take(1, at)).count();
    assert_eq!(taken(&mut bucket, start) as u64, BURST);
    assert_eq!(
        taken(&mut bucket, start + Duration::from_secs(2)) as u64,
        2 * RATE
    );
    assert_eq!(taken(&mut bucket, start), 0, "the clock was set back");
    let later = start + Duration::from_secs(86_400);
    assert_eq!(taken(&mut bucket, later) as u64, BURST);
}
