-- Coupons that an occasion gives, a card issued or a receipt credited, are operations too.
ALTER TABLE koshelek.operations DROP CONSTRAINT operations_kind_check;
ALTER TABLE koshelek.operations ADD CONSTRAINT operations_kind_check
    CHECK (kind IN ('receipt', 'promo_code', 'registration', 'coupons')) NOT VALID;
