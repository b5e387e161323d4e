//! Addresses and notes in Chinese, Japanese and Korean: almost all text is three bytes a character.

use std::sync::LazyLock;

use super::draft::{Columns, Draft};
use super::{FIRST_TIMESTAMP, Random, hash, names};
use crate::model::PrimaryKeyType;

const KEY: [(&str, PrimaryKeyType); 1] = [("id", PrimaryKeyType::String)];

const CITIES: [&str; 16] = [
    "北京", "上海", "广州", "深圳", "杭州", "成都", "武汉", "西安", "東京", "大阪", "京都", "札幌", "서울",
    "부산", "인천", "대구",
];

const WORDS: [&str; 32] = [
    "订单",
    "已发货",
    "客户",
    "要求",
    "尽快",
    "退款",
    "仓库",
    "物流",
    "签收",
    "地址",
    "变更",
    "电话",
    "无人接听",
    "明天",
    "再次",
    "配送",
    "注文",
    "発送",
    "済み",
    "お客様",
    "住所",
    "変更",
    "確認",
    "明日",
    "再配達",
    "주문",
    "배송",
    "완료",
    "고객",
    "주소",
    "변경",
    "확인",
];

pub(super) static COLUMNS: LazyLock<Columns> =
    LazyLock::new(|| Columns::new(&KEY, names(["city", "note", "number"])));

pub(super) fn fill(seed: u64, index: u64, draft: &mut Draft) {
    let mut random = Random(hash(seed, index));
    draft.timestamp = FIRST_TIMESTAMP + (index * 60) as i64 + random.below(60) as i64;
    draft.word(0, CITIES[random.below(16) as usize]);
    for place in 0..8 + random.below(24) {
        if place > 0 {
            draft.text.push(if place % 8 == 0 { '。' } else { ' ' });
        }
        draft.text.push_str(WORDS[random.below(32) as usize]);
    }
    draft.text(1, 0);
    draft.integer(2, random.below(100_000) as i64);
}
