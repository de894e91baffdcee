(* Enclosures that Coq computes: rational numbers, exponentials and logarithms as intervals of binary numbers. *)
From Coq Require Import Reals List ZArith QArith Qreals Lia Lra.
From Interval Require Import Specific_stdz Specific_ops Float_full Xreal Basic Interval.
From UFM Require Import Model Sums Losses Logs.
Import ListNotations.
Open Scope R_scope.

Module F := SpecificFloat StdZRadix2.
Module I := FloatIntervalFull F.

(* -- dyadic numbers are rational --------------------------------------------------------------------------------------- *)

Definition rational (x : dyadic) : Q :=
  let (m, e) := x in if (0 <=? e)%Z then inject_Z (m * 2 ^ e) else Qmake m (Z.to_pos (2 ^ (- e))).

Lemma powerRZ_IZR e : (0 <= e)%Z -> powerRZ 2 e = IZR (2 ^ e).
Proof.
intros P. rewrite <- (Z2Nat.id e P) at 1. rewrite <- pow_powerRZ. rewrite pow_IZR, Z2Nat.id by assumption. reflexivity.
Qed.

Lemma rational_real x : Q2R (rational x) = real x.
Proof.
destruct x as [m e]. unfold rational, real. cbn [fst snd]. destruct (Z.leb_spec 0 e) as [P|P].
- unfold Q2R, inject_Z. cbn [Qnum Qden]. rewrite powerRZ_IZR, mult_IZR by assumption. field.
- unfold Q2R. cbn [Qnum Qden]. rewrite Z2Pos.id by (apply Z.pow_pos_nonneg; lia).
  rewrite <- powerRZ_IZR, powerRZ_neg' by lia. unfold Rdiv. rewrite Rinv_inv.
  reflexivity.
Qed.

Lemma Q2R_IZR n : Q2R (inject_Z n) = IZR n.
Proof. unfold Q2R, inject_Z. cbn. field. Qed.

Definition over (n : Z) : Q := Qmake 1 (Z.to_pos n).
Lemma over_R n : (0 < n)%Z -> Q2R (over n) = / IZR n.
Proof. intros P. unfold Q2R, over. cbn [Qnum Qden]. rewrite Z2Pos.id by lia. ring. Qed.

Lemma Qle_R a b : Qle_bool a b = true -> Q2R a <= Q2R b.
Proof. intros H. apply Qle_Rle, Qle_bool_iff, H. Qed.

Definition Qlt_bool (a b : Q) : bool := negb (Qle_bool b a).
Lemma Qlt_R a b : Qlt_bool a b = true -> Q2R a < Q2R b.
Proof.
unfold Qlt_bool. intros H. apply Qlt_Rlt. apply Qnot_le_lt. intros C. apply Qle_bool_iff in C. rewrite C in H. discriminate.
Qed.

(* -- intervals ----------------------------------------------------------------------------------------------------------- *)

Definition holds (i : I.type) (x : R) : Prop := contains (I.convert i) (Xreal x).

(* bits of enclosures, with what is computed once for all logarithms: ln (1 + t/32) for t from 0, and 2^-bits;
   for few logarithms the table costs more than it saves, and is empty *)
Definition table (bits : F.precision) : list I.type :=
  map (fun t => I.ln bits (I.div bits (I.fromZ bits (Z.of_nat t + 32)) (I.fromZ bits 32))) (seq 0 33).
Definition smallest (bits : F.precision) : I.type := I.div bits (I.fromZ bits 1) (I.fromZ bits (2 ^ bits)).
Record precision := Precision { bits :> F.precision; logs : list I.type; unit : I.type;
  bits_fit : (0 <= bits)%Z; logs_fit : forall t, holds (nth t logs I.nai) (ln (IZR (Z.of_nat t + 32) / 32)); unit_fits : holds unit (/ IZR (2 ^ bits)) }.

Lemma idiv_holds p a b : (0 < b)%Z -> holds (I.div p (I.fromZ p a) (I.fromZ p b)) (IZR a / IZR b).
Proof.
intros P. pose proof (I.div_correct p _ _ _ _ (I.fromZ_correct p a) (I.fromZ_correct p b)) as C. unfold Xdiv, Xdiv' in C.
destruct (is_zero_spec (IZR b)) as [Z0|]; [|exact C]. apply eq_IZR in Z0. lia.
Qed.

Lemma ln_holds p i x : 0 < x -> holds i x -> holds (I.ln p i) (ln x).
Proof.
intros P A. pose proof (I.ln_correct p i _ A) as C. unfold Xln in C. cbn in C.
unfold Xln' in C. destruct (is_positive_spec x); [exact C|exfalso; lra].
Qed.

Lemma table_fits p t : holds (nth t (table p) I.nai) (ln (IZR (Z.of_nat t + 32) / 32)).
Proof.
unfold table. destruct (Nat.lt_ge_cases t 33) as [L|L].
- set (f := fun t => I.ln p (I.div p (I.fromZ p (Z.of_nat t + 32)) (I.fromZ p 32))).
  rewrite (nth_indep _ I.nai (f O)) by (rewrite map_length, seq_length; assumption). rewrite map_nth, seq_nth by assumption.
  apply ln_holds; [|apply idiv_holds; lia]. apply Rdiv_lt_0_compat; [apply IZR_lt; lia|lra].
- rewrite nth_overflow by (rewrite map_length, seq_length; assumption). unfold holds. rewrite I.nai_correct. exact Logic.I.
Qed.

Lemma smallest_fits p : (0 <= p)%Z -> holds (smallest p) (/ IZR (2 ^ p)).
Proof.
intros P. replace (/ IZR (2 ^ p)) with (IZR 1 / IZR (2 ^ p)) by (unfold Rdiv; ring). apply idiv_holds, Z.pow_pos_nonneg; lia.
Qed.

Definition precise (p : N) : precision :=
  Precision (Z.of_N p) (table (Z.of_N p)) (smallest (Z.of_N p)) (N2Z.is_nonneg p) (table_fits (Z.of_N p)) (smallest_fits _ (N2Z.is_nonneg p)).

Lemma no_table t : holds (nth t [] I.nai) (ln (IZR (Z.of_nat t + 32) / 32)).
Proof. unfold holds. destruct t; cbn [nth]; rewrite I.nai_correct; exact Logic.I. Qed.
Definition direct (p : N) : precision :=
  Precision (Z.of_N p) [] (smallest (Z.of_N p)) (N2Z.is_nonneg p) no_table (smallest_fits _ (N2Z.is_nonneg p)).

Section Precision.
Variable prec : precision.

Definition iz (n : Z) := I.fromZ prec n.
Lemma iz_holds n : holds (iz n) (IZR n). Proof. apply I.fromZ_correct. Qed.

Definition iadd := I.add prec.
Lemma iadd_holds i j x y : holds i x -> holds j y -> holds (iadd i j) (x + y).
Proof. intros A B. exact (I.add_correct prec i j _ _ A B). Qed.

Definition isub := I.sub prec.
Lemma isub_holds i j x y : holds i x -> holds j y -> holds (isub i j) (x - y).
Proof. intros A B. exact (I.sub_correct prec i j _ _ A B). Qed.

Definition imul := I.mul prec.
Lemma imul_holds i j x y : holds i x -> holds j y -> holds (imul i j) (x * y).
Proof. intros A B. exact (I.mul_correct prec i j _ _ A B). Qed.

Definition iln := I.ln prec.
Lemma iln_holds i x : 0 < x -> holds i x -> holds (iln i) (ln x).
Proof. apply ln_holds. Qed.

Definition iq (q : Q) := I.div prec (iz (Qnum q)) (iz (Zpos (Qden q))).
Lemma iq_holds q : holds (iq q) (Q2R q).
Proof.
pose proof (I.div_correct prec _ _ _ _ (I.fromZ_correct prec (Qnum q)) (I.fromZ_correct prec (Zpos (Qden q)))) as C.
unfold Xdiv, Xdiv' in C. destruct (is_zero_spec (IZR (Zpos (Qden q)))) as [Z0|]; [|exact C].
apply eq_IZR in Z0. discriminate.
Qed.

(* Of a logarithm of a rational number all that is needed is an upper end, and that costs a tenth of an enclosure. *)
Definition above (k n d : Z) : I.type :=
  let t := (32 * n / d + 1)%Z in
  let s := step_of (bits prec) n (d * t) in
  if (32 <=? t)%Z then
    I.lower_extent (iadd (imul (iz k) (nth 32 (logs prec) I.nai)) (isub (nth (Z.to_nat (t - 32)) (logs prec) I.nai)
      (imul (iz (terms (Z.to_nat (bits prec / 5) + 1)%nat (bits prec) 1 s s)) (unit prec))))
  else I.nai.
Lemma above_holds k n d : (0 < n)%Z -> (0 < d)%Z -> holds (above k n d) (IZR k * ln 2 + ln (IZR n / IZR d)).
Proof.
intros N0 D0. unfold above. cbv zeta. set (t := (32 * n / d + 1)%Z). set (s := step_of (bits prec) n (d * t)).
destruct (Z.leb_spec 32 t) as [T|T]; [|unfold holds; rewrite I.nai_correct; exact Logic.I].
assert (LE : (32 * n <= d * t)%Z).
{ unfold t. pose proof (Z.mul_succ_div_gt (32 * n) d D0) as G. unfold Z.succ in G. lia. }
set (c := (Z.to_nat (bits prec / 5) + 1)%nat). pose proof (ln_above c (bits prec) n d t (bits_fit prec) N0 D0 ltac:(lia) LE) as A. fold s in A.
apply (I.lower_extent_correct _ _ (IZR k * ln 2 + (ln (IZR t / 32) - IZR (terms c (bits prec) 1 s s) * / IZR (2 ^ bits prec)))); [|lra].
apply iadd_holds; [apply imul_holds; [apply iz_holds|]|].
- pose proof (logs_fit prec 32) as L. replace (IZR (Z.of_nat 32 + 32) / 32) with 2 in L by (simpl; lra). exact L.
- apply isub_holds; [|apply imul_holds; [apply iz_holds|apply unit_fits]].
  pose proof (logs_fit prec (Z.to_nat (t - 32))) as L. rewrite Z2Nat.id in L by lia. replace (t - 32 + 32)%Z with t in L by ring. exact L.
Qed.

Definition binade (n d : Z) : Z :=   (* the k with 2^k <= n / d < 2^(k + 1), and any would do *)
  let k := (Z.log2 n - Z.log2 d)%Z in
  if (if 0 <=? k then n <? Z.shiftl d k else Z.shiftl n (- k) <? d)%Z then (k - 1)%Z else k.
Definition iln_above (q : Q) : I.type :=
  let n := Qnum q in let d := Zpos (Qden q) in let k := binade n d in
  match logs prec with
  | [] => iln (iq q)
  | _ => if (0 <=? k)%Z then above k n (Z.shiftl d k) else above k (Z.shiftl n (- k)) d
  end.
Lemma iln_above_holds q : 0 < Q2R q -> holds (iln_above q) (ln (Q2R q)).
Proof.
intros P. unfold iln_above. cbv zeta. destruct (logs prec); [apply iln_holds; [assumption|apply iq_holds]|]. generalize (binade (Qnum q) (Zpos (Qden q))). intros k. set (d := Zpos (Qden q)).
assert (D0 : 0 < IZR d) by (apply IZR_lt; reflexivity). unfold Q2R in *. fold d in P |- *.
assert (N0 : (0 < Qnum q)%Z).
{ apply lt_IZR. apply Rmult_lt_reg_r with (/ IZR d); [apply Rinv_0_lt_compat; assumption|lra]. }
pose proof (IZR_lt _ _ N0) as NR. assert (L2 : forall e, (0 <= e)%Z -> ln (IZR (2 ^ e)) = IZR e * ln 2).
{ intros e E. rewrite <- (Z2Nat.id e E), <- pow_IZR, ln_pow by lra. rewrite INR_IZR_INZ. reflexivity. }
destruct (Z.leb_spec 0 k) as [K0|K0]; rewrite Z.shiftl_mul_pow2 by lia.
- assert (P2 : (0 < 2 ^ k)%Z) by (apply Z.pow_pos_nonneg; lia). pose proof (IZR_lt _ _ P2) as PR.
  replace (ln (IZR (Qnum q) * / IZR d)) with (IZR k * ln 2 + ln (IZR (Qnum q) / IZR (d * 2 ^ k))).
  + apply above_holds; [assumption|]. apply Z.mul_pos_pos; [reflexivity|assumption].
  + rewrite <- L2, <- ln_mult by (assumption || (apply Rdiv_lt_0_compat; [assumption|rewrite mult_IZR; apply Rmult_lt_0_compat; assumption])).
    f_equal. rewrite mult_IZR. field. lra.
- assert (P2 : (0 < 2 ^ (- k))%Z) by (apply Z.pow_pos_nonneg; lia). pose proof (IZR_lt _ _ P2) as PR.
  replace (ln (IZR (Qnum q) * / IZR d)) with (IZR k * ln 2 + ln (IZR (Qnum q * 2 ^ (- k)) / IZR d)).
  + apply above_holds; [apply Z.mul_pos_pos; assumption|reflexivity].
  + rewrite mult_IZR. replace (IZR (Qnum q) * IZR (2 ^ (- k)) / IZR d) with (IZR (2 ^ (- k)) * (IZR (Qnum q) * / IZR d)) by (field; lra).
    rewrite ln_mult, L2, opp_IZR by (assumption || lia). ring.
Qed.

(* Exponentials of numbers beyond most_exponential are not enclosed, and what needs them is not proved: exp x has x log2(e)
   digits before its point, all of which a sum with 1 would write down. *)
Definition most_exponential : Z := 16384.
Definition iexp (q : Q) : I.type :=
  if (Z.abs (Qnum q) <=? most_exponential * Zpos (Qden q))%Z then I.exp prec (iq q) else I.nai.
Lemma iexp_holds q : holds (iexp q) (exp (Q2R q)).
Proof.
unfold iexp, holds. destruct (_ <=? _)%Z; [exact (I.exp_correct prec _ _ (iq_holds q))|rewrite I.nai_correct; exact Logic.I].
Qed.

Definition nonneg_interval (i : I.type) : bool := match I.sign_large i with Xgt | Xeq => true | _ => false end.
Lemma nonneg_holds i x : holds i x -> nonneg_interval i = true -> 0 <= x.
Proof.
unfold nonneg_interval, holds. intros A B. pose proof (I.sign_large_correct i) as S.
destruct (I.sign_large i); try discriminate.
- specialize (S _ A). injection S as ->. lra.
- destruct (S _ A) as [_ P]. exact P.
Qed.

Definition at_least (q : Q) (i : I.type) : bool := nonneg_interval (isub i (iq q)).
Lemma at_least_holds q i x : holds i x -> at_least q i = true -> Q2R q <= x.
Proof.
intros A B. pose proof (nonneg_holds _ _ (isub_holds _ _ _ _ A (iq_holds q)) B). lra.
Qed.

Definition at_most (q : Q) (i : I.type) : bool := nonneg_interval (isub (iq q) i).
Lemma at_most_holds q i x : holds i x -> at_most q i = true -> x <= Q2R q.
Proof.
intros A B. pose proof (nonneg_holds _ _ (isub_holds _ _ _ _ (iq_holds q) A) B). lra.
Qed.

Fixpoint isum (n : nat) (f : nat -> I.type) : I.type := match n with O => iz 0 | S m => iadd (isum m f) (f m) end.
Lemma isum_holds n f g : (forall i, (i < n)%nat -> holds (f i) (g i)) -> holds (isum n f) (sum n g).
Proof.
induction n as [|n IH]; intros E; cbn [isum sum]; [apply iz_holds|]. apply iadd_holds; auto.
Qed.

(* -- conjugates ------------------------------------------------------------------------------------------------------------ *)

Definition iplogp (p : Q) : I.type := if Qle_bool p 0 then iz 0 else imul (iq p) (iln_above p).
Lemma iplogp_holds p : 0 <= Q2R p -> holds (iplogp p) (plogp (Q2R p)).
Proof.
intros P. unfold iplogp, plogp. destruct (Qle_bool p 0) eqn:E.
- apply Qle_R in E. replace (Q2R 0) with 0 in E by (unfold Q2R; cbn; lra). replace (Q2R p) with 0 by lra.
  rewrite Rmult_0_l. apply iz_holds.
- assert (L : Qlt_bool 0 p = true) by (unfold Qlt_bool; rewrite E; reflexivity). apply Qlt_R in L.
  replace (Q2R 0) with 0 in L by (unfold Q2R; cbn; lra). apply imul_holds; [apply iq_holds|].
  apply iln_above_holds; assumption.
Qed.

Definition iconjugate (l : loss) (own : bool) (y v : Q) : I.type :=
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => iplogp (v + y)
  | SquaredError => iq (v * v * (1 # 2) + (if own then v else 0))
  | BinaryCrossEntropy => let p := (if own then - v else v)%Q in iadd (iplogp p) (iplogp (1 - p))
  | CrammerSinger | WestonWatkins => iq (if own then v else 0)
  | SquaredHinge => iq (if own then 0 else v * v * (1 # 2) - v)
  end.

Definition in_domain (l : loss) (own : bool) (y v : Q) : bool :=
  match l with
  | CrossEntropy _ | SoftTargets _ _ | LogitAdjusted _ _ | LabelMargins _ => Qle_bool 0 (v + y)
  | SquaredError => true
  | BinaryCrossEntropy => let p := (if own then - v else v)%Q in Qle_bool 0 p && Qle_bool p 1
  | CrammerSinger => if own then Qle_bool (-1) v else Qle_bool 0 v
  | WestonWatkins => if own then true else Qle_bool 0 v && Qle_bool v 1
  | SquaredHinge => if own then true else Qle_bool 0 v
  end.

Lemma Q2R_0 : Q2R 0 = 0. Proof. unfold Q2R; cbn; lra. Qed.
Lemma Q2R_1 : Q2R 1 = 1. Proof. unfold Q2R; cbn; lra. Qed.

Lemma in_domain_R l own y v : in_domain l own y v = true -> domain l own (Q2R y) (Q2R v).
Proof.
assert (M1 : Q2R (-1) = -1) by (unfold Q2R; cbn; lra).
destruct l, own; cbn [in_domain domain]; intros H; try exact Logic.I; try (apply andb_prop in H as [H H']; apply Qle_R in H');
  apply Qle_R in H; rewrite ?Q2R_plus, ?Q2R_opp, ?Q2R_0, ?Q2R_1, ?M1 in *; lra.
Qed.

Lemma iconjugate_holds l own y v : in_domain l own y v = true -> holds (iconjugate l own y v) (conjugate l own (Q2R y) (Q2R v)).
Proof.
intros H. apply in_domain_R in H. assert (HALF : Q2R (1 # 2) = / 2) by (unfold Q2R; cbn; lra).
destruct l; cbn [iconjugate conjugate domain] in *; try (rewrite <- Q2R_plus in *; apply iplogp_holds; assumption).
- replace (Q2R v ^ 2 / 2 + (if own then Q2R v else 0)) with (Q2R (v * v * (1 # 2) + (if own then v else 0))); [apply iq_holds|].
  rewrite Q2R_plus, !Q2R_mult, HALF. destruct own; rewrite ?Q2R_0; field.
- set (p := (if own then - v else v)%Q). assert (E : Q2R p = if own then - Q2R v else Q2R v).
  { unfold p. destruct own; [apply Q2R_opp|reflexivity]. }
  rewrite <- E in *. apply iadd_holds; [apply iplogp_holds; lra|].
  replace (1 - Q2R p) with (Q2R (1 - p)) by (rewrite Q2R_minus, Q2R_1; reflexivity).
  apply iplogp_holds. rewrite Q2R_minus, Q2R_1. lra.
- replace (if own then Q2R v else 0) with (Q2R (if own then v else 0)); [apply iq_holds|]. destruct own; [reflexivity|apply Q2R_0].
- replace (if own then Q2R v else 0) with (Q2R (if own then v else 0)); [apply iq_holds|]. destruct own; [reflexivity|apply Q2R_0].
- replace (if own then 0 else Q2R v ^ 2 / 2 - Q2R v) with (Q2R (if own then 0 else v * v * (1 # 2) - v)); [apply iq_holds|].
  destruct own; [apply Q2R_0|]. rewrite Q2R_minus, !Q2R_mult, HALF. field.
Qed.

(* -- columns by runs ----------------------------------------------------------------------------------------------------- *)

(* how many classes of run s there are beside one of run r *)
Definition others (ms : list Z) (r s : nat) : Z := (nth s ms 0 - if (s =? r)%nat then 1 else 0)%Z.

Definition icolumn (ms : list Z) (r : nat) (f : bool -> nat -> I.type) : I.type :=
  iadd (isum (length ms) (fun s => let m := others ms r s in if (m =? 0)%Z then iz 0 else imul (iz m) (f false s))) (f true r).

Lemma icolumn_holds ms k (f : bool -> nat -> I.type) (g : bool -> nat -> R) : positive_runs ms -> (k < Z.to_nat (total ms))%nat ->
  (forall own s, (s < length ms)%nat -> (own = true -> s = run_of ms k) ->
     (own = false -> others ms (run_of ms k) s <> 0%Z) -> holds (f own s) (g own s)) ->
  holds (icolumn ms (run_of ms k) f) (sum (Z.to_nat (total ms)) (fun j => g (j =? k)%nat (run_of ms j))).
Proof.
intros P L E. set (r := run_of ms k) in *. assert (Lr : (r < length ms)%nat) by (apply run_of_lt; assumption).
rewrite (sum_ext _ _ (fun j => if (j =? k)%nat then g true (run_of ms j) else g false (run_of ms j)))
  by (intros j _; destruct (j =? k)%nat; reflexivity).
rewrite sum_others by assumption. rewrite (sum_classes ms (g false) P). fold r.
replace (sum (length ms) (fun s => size ms s * g false s) + (g true r - g false r))
  with (sum (length ms) (fun s => IZR (others ms r s) * g false s) + g true r).
- apply iadd_holds; [|apply E; auto; discriminate]. apply isum_holds; intros s Ls. cbv zeta.
  destruct (Z.eqb_spec (others ms r s) 0) as [->|N]; [rewrite Rmult_0_l; apply iz_holds|].
  apply imul_holds; [apply iz_holds|]. apply E; auto; discriminate.
- rewrite (sum_ext (length ms) (fun s => IZR (others ms r s) * g false s)
    (fun s => size ms s * g false s - (if (s =? r)%nat then g false s else 0))).
  + rewrite sum_minus, sum_single by assumption. ring.
  + intros s _. unfold others. rewrite minus_IZR. unfold size. destruct (s =? r)%nat; ring.
Qed.
End Precision.
