(* Logarithms from above: what a power series leaves out, and the series in integers. *)
From Coq Require Import Reals ZArith Lia Lra.
Open Scope R_scope.

(* -- ln (1 - v) <= -(v + v^2/2 + ... + v^n/n) ------------------------------------------------------------------------------ *)

Fixpoint series (n : nat) (v : R) : R := match n with O => 0 | S m => series m v + v ^ S m / INR (S m) end.
Fixpoint geometric (n : nat) (v : R) : R := match n with O => 0 | S m => geometric m v + v ^ m end.

Lemma geometric_sum n v : (1 - v) * geometric n v = 1 - v ^ n.
Proof. induction n; cbn [geometric pow]; [ring|]. rewrite Rmult_plus_distr_l, IHn. ring. Qed.

Lemma series_derivative n v : derivable_pt_lim (series n) v (geometric n v).
Proof.
induction n; cbn [series geometric]; [apply derivable_pt_lim_const|].
apply (derivable_pt_lim_plus (series n) (fun x => x ^ S n / INR (S n))); [exact IHn|].
assert (P : INR (S n) <> 0) by (apply not_0_INR; discriminate).
replace (v ^ n) with ((INR (S n) * v ^ pred (S n)) * / INR (S n)) by (cbn [pred]; field; assumption).
apply (derivable_pt_lim_ext (mult_real_fct (/ INR (S n)) (fun x => x ^ S n))).
- intros x. unfold mult_real_fct. unfold Rdiv. ring.
- rewrite Rmult_comm. apply derivable_pt_lim_scal, derivable_pt_lim_pow.
Qed.

Lemma series_0 n : series n 0 = 0.
Proof. induction n; cbn [series]; [reflexivity|]. rewrite IHn, pow_i by lia. unfold Rdiv. ring. Qed.

Theorem ln_series n v : 0 <= v < 1 -> ln (1 - v) <= - series n v.
Proof.
intros [V0 V1]. destruct (Req_dec v 0) as [->|N]; [rewrite series_0, Rminus_0_r, ln_1; lra|].
pose (f := fun x => ln (1 - x) + series n x). pose (f' := fun x => - / (1 - x) + geometric n x).
destruct (MVT_cor2 f f' 0 v) as [c [E [C0 C1]]]; [lra| |].
- intros c [C0 C1]. unfold f, f'. apply (derivable_pt_lim_plus (fun x => ln (1 - x)) (series n)); [|apply series_derivative].
  replace (- / (1 - c)) with (/ (1 - c) * (0 - 1)) by ring.
  apply (derivable_pt_lim_comp (fun x => 1 - x) ln); [|apply derivable_pt_lim_ln; lra].
  apply (derivable_pt_lim_minus (fun _ => 1) id); [apply derivable_pt_lim_const|apply derivable_pt_lim_id].
- unfold f, f' in E. rewrite series_0, Rminus_0_r, ln_1 in E.
  assert (D : - / (1 - c) + geometric n c <= 0).
  { apply Rmult_le_reg_l with (1 - c); [lra|]. rewrite Rmult_plus_distr_l, geometric_sum. pose proof (pow_le c n (Rlt_le _ _ C0)).
    replace ((1 - c) * - / (1 - c)) with (-1) by (field; lra). lra. }
  assert (G : 0 <= (0 - (- / (1 - c) + geometric n c)) * (v - 0)) by (apply Rmult_le_pos; lra). lra.
Qed.

(* -- the series in units of 2^-b, every term rounded down: power is v^j, step is v ------------------------------------- *)

Fixpoint terms (n : nat) (b j power step : Z) : Z :=
  match n with
  | O => 0%Z
  | S m => (power / j + terms m b (j + 1) (Z.shiftr (power * step) b) step)%Z
  end.

Fixpoint tail (n : nat) (j : nat) (v : R) : R := match n with O => 0 | S m => v ^ j / INR j + tail m (S j) v end.
Lemma tail_series n : forall j v, series j v + tail n (S j) v = series (j + n) v.
Proof.
induction n; intros j v; cbn [tail]; [rewrite Nat.add_0_r; ring|].
replace (j + S n)%nat with (S j + n)%nat by lia. rewrite <- IHn. cbn [series]. ring.
Qed.

Lemma div_below a c : (0 < c)%Z -> IZR (a / c) <= IZR a / IZR c.
Proof.
intros P. assert (0 < IZR c) by (apply IZR_lt; assumption). apply Rmult_le_reg_r with (IZR c); [assumption|].
unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r, <- mult_IZR by lra. apply IZR_le. rewrite Z.mul_comm. apply Z.mul_div_le; assumption.
Qed.

Lemma terms_below n b step v : (0 <= b)%Z -> (0 <= step)%Z -> 0 <= v -> IZR step <= v * IZR (2 ^ b) ->
  forall j power, (0 < j)%nat -> (0 <= power)%Z -> IZR power <= v ^ j * IZR (2 ^ b) ->
  IZR (terms n b (Z.of_nat j) power step) <= tail n j v * IZR (2 ^ b).
Proof.
intros B0 S0 V0 S1. assert (P2 : (0 < 2 ^ b)%Z) by (apply Z.pow_pos_nonneg; lia). assert (PR : 0 < IZR (2 ^ b)) by (apply IZR_lt; assumption).
induction n as [|n IH]; intros j power J P0 P1; cbn [terms tail]; [lra|].
rewrite plus_IZR, Rmult_plus_distr_r. assert (JR : 0 < INR j) by (apply lt_0_INR; assumption). apply Rplus_le_compat.
- apply Rle_trans with (1 := div_below power (Z.of_nat j) ltac:(lia)). rewrite <- INR_IZR_INZ.
  replace (v ^ j / INR j * IZR (2 ^ b)) with (v ^ j * IZR (2 ^ b) / INR j) by (unfold Rdiv; ring).
  unfold Rdiv. apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; assumption|exact P1].
- replace (Z.of_nat j + 1)%Z with (Z.of_nat (S j)) by lia. rewrite Z.shiftr_div_pow2 by assumption. apply IH; [lia| |].
  + apply Z.div_pos; [apply Z.mul_nonneg_nonneg; assumption|assumption].
  + apply Rle_trans with (1 := div_below _ _ P2). rewrite mult_IZR. cbn [pow].
    apply Rmult_le_reg_r with (IZR (2 ^ b)); [assumption|]. unfold Rdiv. rewrite !Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    apply Rle_trans with ((v ^ j * IZR (2 ^ b)) * (v * IZR (2 ^ b))); [|right; ring].
    apply Rmult_le_compat; try assumption; apply IZR_le; assumption.
Qed.

(* n / d = 2^k t (1 - v) / 32, with what is left of v rounded down *)
Definition step_of (b n w : Z) : Z := (Z.shiftl (w - 32 * n) b / w)%Z.
Theorem ln_above (count : nat) (b n d t : Z) : (0 <= b)%Z -> (0 < n)%Z -> (0 < d)%Z -> (0 < t)%Z -> (32 * n <= d * t)%Z ->
  ln (IZR n / IZR d) <= ln (IZR t / 32) - IZR (terms count b 1 (step_of b n (d * t)) (step_of b n (d * t))) * / IZR (2 ^ b).
Proof.
intros B0 N0 D0 T0 LE. assert (W0 : (0 < d * t)%Z) by (apply Z.mul_pos_pos; assumption).
assert (P2 : (0 < 2 ^ b)%Z) by (apply Z.pow_pos_nonneg; lia). assert (PR : 0 < IZR (2 ^ b)) by (apply IZR_lt; assumption).
pose proof (IZR_lt _ _ N0) as NR. pose proof (IZR_lt _ _ D0) as DR. pose proof (IZR_lt _ _ T0) as TR.
set (v := 1 - 32 * IZR n / (IZR d * IZR t)).
assert (WR : 0 < IZR d * IZR t) by (apply Rmult_lt_0_compat; assumption).
assert (V : 0 <= v < 1).
{ apply IZR_le in LE. rewrite !mult_IZR in LE. unfold v. split.
  - enough (32 * IZR n / (IZR d * IZR t) <= 1) by lra. apply Rmult_le_reg_r with (IZR d * IZR t); [assumption|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra.
  - enough (0 < 32 * IZR n / (IZR d * IZR t)) by lra. apply Rdiv_lt_0_compat; lra. }
replace (IZR n / IZR d) with ((IZR t / 32) * (1 - v)) by (unfold v; field; lra).
rewrite ln_mult by lra. set (s := step_of b n (d * t)).
assert (S0 : (0 <= s)%Z).
{ unfold s, step_of. apply Z.div_pos; [|assumption]. apply Z.shiftl_nonneg. lia. }
assert (S1 : IZR s <= v * IZR (2 ^ b)).
{ unfold s, step_of. apply Rle_trans with (1 := div_below _ _ W0). rewrite Z.shiftl_mul_pow2, mult_IZR, minus_IZR, !mult_IZR by assumption.
  right. unfold v. field. lra. }
pose proof (ln_series count v V) as L.
assert (T : IZR (terms count b 1 s s) <= tail count 1 v * IZR (2 ^ b)).
{ apply (terms_below count b s v B0 S0 (proj1 V) S1 1%nat s); [lia|assumption|]. rewrite pow_1. exact S1. }
pose proof (tail_series count 0 v) as TS. cbn [series Nat.add] in TS. rewrite Rplus_0_l in TS. rewrite TS in T.
apply (Rmult_le_compat_r (/ IZR (2 ^ b))) in T; [|left; apply Rinv_0_lt_compat; assumption].
rewrite Rmult_assoc, Rinv_r, Rmult_1_r in T by lra. lra.
Qed.
