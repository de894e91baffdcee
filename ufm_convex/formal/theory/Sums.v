(* Finite sums. *)
From Coq Require Import Reals List ZArith Lia Lra.
From UFM Require Import Model.
Import ListNotations.
Open Scope R_scope.

Lemma sum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> sum n f = sum n g.
Proof. induction n; simpl; intros E; [reflexivity|]. rewrite IHn, E; auto. Qed.

Lemma sum_le n f g : (forall i, (i < n)%nat -> f i <= g i) -> sum n f <= sum n g.
Proof. induction n; simpl; intros E; [lra|]. assert (f n <= g n) by auto. assert (sum n f <= sum n g) by auto. lra. Qed.

Lemma sum_0 n : sum n (fun _ => 0) = 0.
Proof. induction n; simpl; lra. Qed.

Lemma sum_ge0 n f : (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= sum n f.
Proof. intros E. rewrite <- (sum_0 n). apply sum_le; assumption. Qed.

Lemma sum_plus n f g : sum n (fun i => f i + g i) = sum n f + sum n g.
Proof. induction n; simpl; lra. Qed.

Lemma sum_minus n f g : sum n (fun i => f i - g i) = sum n f - sum n g.
Proof. induction n; simpl; lra. Qed.

Lemma sum_scal n c f : sum n (fun i => c * f i) = c * sum n f.
Proof. induction n; simpl; lra. Qed.

Lemma sum_scal_r n c f : sum n (fun i => f i * c) = sum n f * c.
Proof. induction n; simpl; lra. Qed.

Lemma sum_const n c : sum n (fun _ => c) = INR n * c.
Proof. induction n; [simpl; lra|]. rewrite S_INR. cbn [sum]. rewrite IHn. lra. Qed.

Lemma sum_swap n m f : sum n (fun i => sum m (fun j => f i j)) = sum m (fun j => sum n (fun i => f i j)).
Proof. induction n; simpl; [rewrite sum_0; reflexivity|]. rewrite IHn, <- sum_plus. reflexivity. Qed.

Lemma sum_add n m f : sum (n + m) f = sum n f + sum m (fun i => f (n + i)%nat).
Proof. induction m; simpl; [rewrite Nat.add_0_r; lra|]. rewrite Nat.add_succ_r. cbn [sum]. rewrite IHm. lra. Qed.

Lemma sum_S n f : sum (S n) f = f O + sum n (fun i => f (S i)).
Proof. exact (eq_trans (sum_add 1 n f) (f_equal2 Rplus (Rplus_0_l _) eq_refl)). Qed.

Lemma sum_single n k (f : nat -> R) : (k < n)%nat -> sum n (fun j => if (j =? k)%nat then f j else 0) = f k.
Proof.
induction n; intros L; [lia|]. cbn [sum]. destruct (Nat.eq_dec n k) as [<-|D].
- rewrite Nat.eqb_refl. rewrite (sum_ext n _ (fun _ => 0)); [rewrite sum_0; lra|].
  intros i Hi. destruct (Nat.eqb_spec i n); [lia|reflexivity].
- rewrite IHn by lia. destruct (Nat.eqb_spec n k); [lia|lra].
Qed.

(* the terms but one *)
Lemma sum_others n k (f g : nat -> R) : (k < n)%nat ->
  sum n (fun j => if (j =? k)%nat then f j else g j) = sum n g + (f k - g k).
Proof.
intros L. rewrite <- (sum_single n k (fun j => f j - g j) L), <- sum_plus. apply sum_ext. intros i _.
destruct (i =? k)%nat; lra.
Qed.

(* the square of a mean is at most the mean of the squares: Jensen's inequality, for class means *)
Lemma sum_square n f : sum n f ^ 2 <= INR n * sum n (fun i => f i ^ 2).
Proof.
assert (E : forall c, 0 <= sum n (fun i => (f i - c) ^ 2)) by (intros c; apply sum_ge0; intros; apply pow2_ge_0).
assert (X : forall c, sum n (fun i => (f i - c) ^ 2) = sum n (fun i => f i ^ 2) - 2 * c * sum n f + INR n * c ^ 2).
{ intros c. rewrite <- sum_scal, <- sum_const, <- sum_minus, <- sum_plus. apply sum_ext; intros; ring. }
destruct n as [|n]; [simpl; lra|].
assert (P : 0 < INR (S n)) by (apply lt_0_INR; lia).
specialize (E (sum (S n) f / INR (S n))). rewrite X in E.
set (s := sum (S n) f) in *; set (q := sum (S n) (fun i => f i ^ 2)) in *; set (m := INR (S n)) in *.
apply (Rmult_le_compat_l m) in E; [|lra].
assert (Y : m * (q - 2 * (s / m) * s + m * (s / m) ^ 2) = m * q - s ^ 2) by (field; lra). lra.
Qed.

(* non-negative numbers: the sum of squares is at most the square of the sum *)
Lemma sum_of_squares n f : (forall i, (i < n)%nat -> 0 <= f i) -> sum n (fun i => f i ^ 2) <= sum n f ^ 2.
Proof.
induction n; intros P; [simpl; lra|]. cbn [sum]. assert (0 <= f n) by auto.
assert (0 <= sum n f) by (apply sum_ge0; auto). assert (sum n (fun i => f i ^ 2) <= sum n f ^ 2) by auto. nra.
Qed.

(* -- runs -- *)

Fixpoint runs_sum (ms : list Z) (F : nat -> R) : R :=
  match ms with [] => 0 | m :: rest => IZR m * F O + runs_sum rest (fun r => F (S r)) end.

Definition total (ms : list Z) : Z := fold_right Z.add 0%Z ms.
Definition positive_runs (ms : list Z) : Prop := Forall (fun m => (0 < m)%Z) ms.

Lemma total_ge0 ms : positive_runs ms -> (0 <= total ms)%Z.
Proof. induction 1; simpl; lia. Qed.

Lemma sum_runs ms F : positive_runs ms -> sum (Z.to_nat (total ms)) (fun k => F (run_of ms k)) = runs_sum ms F.
Proof.
intros P. revert F. induction P as [|m ms Hm P IH]; intros F; [reflexivity|].
assert (T := total_ge0 ms P). cbn [total fold_right runs_sum]. fold (total ms).
rewrite Z2Nat.inj_add, sum_add by lia. f_equal.
- rewrite (sum_ext _ _ (fun _ => F O)).
  + rewrite sum_const, INR_IZR_INZ, Z2Nat.id by lia. reflexivity.
  + intros i L. cbn [run_of]. destruct (Nat.ltb_spec i (Z.to_nat m)); [reflexivity|lia].
- rewrite <- (IH (fun r => F (S r))). apply sum_ext. intros i _. cbn [run_of].
  destruct (Nat.ltb_spec (Z.to_nat m + i) (Z.to_nat m)); [lia|]. replace (Z.to_nat m + i - Z.to_nat m)%nat with i by lia.
  reflexivity.
Qed.

Lemma run_of_lt ms k : positive_runs ms -> (k < Z.to_nat (total ms))%nat -> (run_of ms k < length ms)%nat.
Proof.
intros P. revert k. induction P as [|m ms Hm P IH]; intros k L; cbn [total fold_right] in *; [simpl in L; lia|].
fold (total ms) in *. assert (T := total_ge0 ms P). rewrite Z2Nat.inj_add in L by lia. cbn [run_of length].
destruct (Nat.ltb_spec k (Z.to_nat m)); [lia|]. specialize (IH (k - Z.to_nat m)%nat). lia.
Qed.

Lemma run_inhabited ms r : positive_runs ms -> (r < length ms)%nat -> exists k, (k < Z.to_nat (total ms))%nat /\ run_of ms k = r.
Proof.
intros P. revert r. induction P as [|m ms Hm P IH]; intros r Lr; [simpl in Lr; lia|].
assert (T := total_ge0 ms P). cbn [total fold_right run_of]. fold (total ms). destruct r as [|r].
- exists O. split; [lia|]. destruct (Nat.ltb_spec 0 (Z.to_nat m)); [reflexivity|lia].
- destruct (IH r ltac:(simpl in Lr; lia)) as [k [Lk Rk]]. exists (Z.to_nat m + k)%nat. split; [lia|].
  destruct (Nat.ltb_spec (Z.to_nat m + k) (Z.to_nat m)); [lia|].
  replace (Z.to_nat m + k - Z.to_nat m)%nat with k by lia. rewrite Rk. reflexivity.
Qed.

Lemma runs_sum_ext ms F G : (forall r, (r < length ms)%nat -> F r = G r) -> runs_sum ms F = runs_sum ms G.
Proof.
revert F G. induction ms as [|m ms IH]; intros F G E; [reflexivity|]. cbn [runs_sum]. rewrite E by (simpl; lia).
rewrite (IH _ (fun r => G (S r))); [reflexivity|]. intros r L. apply E. simpl; lia.
Qed.

Lemma runs_sum_scal ms c F : runs_sum ms (fun r => c * F r) = c * runs_sum ms F.
Proof. revert F; induction ms as [|m ms IH]; intros F; cbn [runs_sum]; [lra|]. rewrite IH. lra. Qed.

Definition size (ms : list Z) (r : nat) : R := IZR (nth r ms 0%Z).

Lemma runs_sum_sum ms F : runs_sum ms F = sum (length ms) (fun r => size ms r * F r).
Proof.
revert F. induction ms as [|m ms IH]; intros F; [reflexivity|].
change (length (m :: ms)) with (S (length ms)). rewrite sum_S. cbn [runs_sum]. rewrite IH. reflexivity.
Qed.

Lemma sum_classes ms F : positive_runs ms ->
  sum (Z.to_nat (total ms)) (fun k => F (run_of ms k)) = sum (length ms) (fun r => size ms r * F r).
Proof. intros P. rewrite sum_runs, runs_sum_sum by assumption. reflexivity. Qed.

(* the sum of numbers of classes within one run *)
Definition within (ms : list Z) (y : nat -> R) (r : nat) : R :=
  sum (Z.to_nat (total ms)) (fun k => if (run_of ms k =? r)%nat then y k else 0).

Lemma sum_by_run ms c y : positive_runs ms ->
  sum (Z.to_nat (total ms)) (fun k => c (run_of ms k) * y k) = sum (length ms) (fun r => c r * within ms y r).
Proof.
intros P. unfold within. transitivity (sum (length ms) (fun r => sum (Z.to_nat (total ms))
  (fun k => if (run_of ms k =? r)%nat then c r * y k else 0))).
- rewrite sum_swap. apply sum_ext; intros k Hk. pose proof (run_of_lt ms k P Hk) as L.
  rewrite <- (sum_single (length ms) (run_of ms k) (fun r => c r * y k) L). apply sum_ext; intros r _.
  rewrite (Nat.eqb_sym r). destruct (run_of ms k =? r)%nat; reflexivity.
- apply sum_ext; intros r _. rewrite <- sum_scal. apply sum_ext; intros k _. destruct (_ =? _)%nat; ring.
Qed.

Lemma within_one ms r : positive_runs ms -> (r < length ms)%nat -> within ms (fun _ => 1) r = size ms r.
Proof.
intros P L. unfold within. rewrite (sum_classes ms (fun s => if (s =? r)%nat then 1 else 0)) by assumption.
rewrite <- (sum_single (length ms) r (size ms) L). apply sum_ext; intros s _. destruct (s =? r)%nat; ring.
Qed.

Lemma size_pos ms r : positive_runs ms -> (r < length ms)%nat -> 1 <= size ms r.
Proof.
intros P L. unfold size. apply IZR_le. unfold positive_runs in P. rewrite Forall_forall in P.
specialize (P (nth r ms 0%Z) (nth_In _ _ L)). lia.
Qed.

Lemma within_mono ms f g r : (forall k, f k <= g k) -> within ms f r <= within ms g r.
Proof. intros E. apply sum_le; intros k _. destruct (_ =? _)%nat; [apply E|lra]. Qed.

Lemma within_ge0 ms f r : (forall k, 0 <= f k) -> 0 <= within ms f r.
Proof. intros E. apply sum_ge0; intros k _. destruct (_ =? _)%nat; [apply E|lra]. Qed.

Lemma within_plus ms f g r : within ms (fun k => f k + g k) r = within ms f r + within ms g r.
Proof. unfold within. rewrite <- sum_plus. apply sum_ext; intros k _. destruct (_ =? _)%nat; ring. Qed.

Lemma within_scal ms c f r : within ms (fun k => c * f k) r = c * within ms f r.
Proof. unfold within. rewrite <- sum_scal. apply sum_ext; intros k _. destruct (_ =? _)%nat; ring. Qed.

Lemma within_square ms y r : positive_runs ms -> (r < length ms)%nat ->
  within ms y r ^ 2 <= size ms r * within ms (fun k => y k ^ 2) r.
Proof.
intros P L. pose proof (size_pos ms r P L) as M. set (c := within ms y r / size ms r).
pose proof (within_ge0 ms (fun k => (y k - c) ^ 2) r (fun k => pow2_ge_0 _)) as G.
assert (X : within ms (fun k => (y k - c) ^ 2) r
  = within ms (fun k => y k ^ 2) r - 2 * c * within ms y r + c ^ 2 * size ms r).
{ rewrite <- (within_one ms r P L). unfold within. rewrite <- !sum_scal, <- sum_minus, <- sum_plus.
  apply sum_ext; intros k _. destruct (_ =? _)%nat; ring. }
rewrite X in G. apply (Rmult_le_compat_l (size ms r)) in G; [|lra]. rewrite Rmult_0_r in G.
assert (Y : size ms r * (within ms (fun k => y k ^ 2) r - 2 * c * within ms y r + c ^ 2 * size ms r)
  = size ms r * within ms (fun k => y k ^ 2) r - within ms y r ^ 2) by (unfold c; field; lra). lra.
Qed.

Lemma within_squares ms y r : (forall k, 0 <= y k) -> within ms (fun k => y k ^ 2) r <= within ms y r ^ 2.
Proof.
intros Y. unfold within.
apply Rle_trans with (sum (Z.to_nat (total ms)) (fun k => (if (run_of ms k =? r)%nat then y k else 0) ^ 2)).
- right. apply sum_ext; intros k _. destruct (_ =? _)%nat; ring.
- apply sum_of_squares. intros k _. destruct (_ =? _)%nat; [apply Y|lra].
Qed.

Fixpoint zsum (n : nat) (f : nat -> Z) : Z := match n with O => 0%Z | S m => (zsum m f + f m)%Z end.

Lemma zsum_R n f : IZR (zsum n f) = sum n (fun i => IZR (f i)).
Proof. induction n; cbn [zsum sum]; [reflexivity|]. rewrite plus_IZR, IHn. reflexivity. Qed.

(* -- integers in lists -- *)

Lemma zsum_S n f : zsum (S n) f = (f O + zsum n (fun i => f (S i)))%Z.
Proof. induction n; [cbn; lia|]. cbn [zsum] in *. rewrite IHn. lia. Qed.

Lemma zsum_0 n : zsum n (fun _ => 0%Z) = 0%Z.
Proof. induction n; cbn [zsum]; lia. Qed.

Lemma zsum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> zsum n f = zsum n g.
Proof. induction n; intros E; cbn [zsum]; [reflexivity|]. rewrite IHn, E by auto. reflexivity. Qed.

Fixpoint dot (a b : list Z) : Z := match a, b with y :: a', z :: b' => (y * z + dot a' b')%Z | _, _ => 0%Z end.
Lemma dot_zsum a : forall n b, (length a <= n)%nat -> dot a b = zsum n (fun i => nth i a 0 * nth i b 0)%Z.
Proof.
induction a as [|y a IH]; intros n b L.
- rewrite (zsum_ext n _ (fun _ => 0%Z)), zsum_0; [reflexivity|]. intros [|i] _; reflexivity.
- destruct n as [|n]; [simpl in L; lia|]. rewrite zsum_S. destruct b as [|z b].
  + cbn [dot nth]. rewrite (zsum_ext n _ (fun _ => 0%Z)), zsum_0 by (intros [|i] _; cbn; ring). ring.
  + cbn [dot nth]. rewrite (IH n b) by (simpl in L; lia). reflexivity.
Qed.

Lemma nth_map_seq {A} (f : nat -> A) n i d : (i < n)%nat -> nth i (map f (seq 0 n)) d = f i.
Proof.
intros L. rewrite (nth_indep _ d (f O)) by (rewrite map_length, seq_length; exact L). rewrite map_nth, seq_nth by exact L. reflexivity.
Qed.
