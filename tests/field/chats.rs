//! Who a recipient is: numbers that WhatsApp does not know, ids, one's own, groups that do not take what we send.
